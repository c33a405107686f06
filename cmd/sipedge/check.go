package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sipedge/config"
)

// errWrong says that a policy file is wrong, which has been told already.
var errWrong = errors.New("")

func checkCommand(environ []string, stdout, stderr io.Writer) *cobra.Command {
	var flags *config.Flags
	c := &cobra.Command{
		Use:   "check FILE [flags]",
		Short: "Say what is wrong in a policy file, or what it means",
		Long: `Say what is wrong in a policy file, every mistake at once with its place, and exit 1; or what it means in plain
words. Nothing is sent and nothing is opened. With the flags of serve it is checked against them too: --listen tells
whether some route leads back to ourselves or needs a transport that nothing listens by.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("check takes one policy file, as in: sipedge check policy.yaml")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			var cfg *config.Config
			if c.Flags().NFlag() > 0 { // what the defaults say means nothing about another machine
				var err error
				if cfg, err = flags.Load(environ); err != nil {
					return usageError{err}
				}
			}
			p, warnings, err := config.LoadPolicy(args[0], cfg)
			var problems config.PolicyErrors
			switch {
			case errors.As(err, &problems):
				fmt.Fprintln(stderr, problems)
				return errWrong
			case err != nil:
				return err
			}
			for _, w := range warnings {
				fmt.Fprintf(stderr, "warning: %s\n", w)
			}
			p.Describe(stdout)
			return nil
		},
	}
	flags = config.Register(c.Flags())
	c.SetHelpFunc(func(c *cobra.Command, _ []string) {
		fmt.Fprintf(c.OutOrStdout(), "%s\n\nUsage:\n  sipedge check FILE [flags of serve]\n", c.Long)
	})
	return c
}

func schemaCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of policy files, for editors",
		Long: `Print the JSON Schema of policy files. Editors complete and explain keys with it:

  sipedge schema > policy.schema.json

and in the first line of the policy file:

  # yaml-language-server: $schema=policy.schema.json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := stdout.Write(config.PolicySchema())
			return err
		},
	}
}
