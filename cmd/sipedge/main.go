// Package main is the sipedge binary: flags, files and signals on one side, the running rooms on the
// other.
//
// Enters: the command line, the environment, signals.
// Leaves: a running process, its log, its exit status.
// Never:  protocol logic.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sipedge/config"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailed  = 1 // it could not start, or had to end
	exitMisused = 2 // the command line or the environment is wrong
)

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// usageError is a mistake in what was asked for.
type usageError struct{ error }

func run(args, environ []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "sipedge",
		Short:         "A carrier-edge SIP proxy.",
		SilenceErrors: true, // told below, all alike
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{config.FlagError(err)} })
	root.AddCommand(serveCommand(environ, stderr), checkCommand(environ, stdout, stderr), schemaCommand(stdout), versionCommand(environ, stdout))

	err := root.Execute()
	if err == nil {
		return exitOK
	}
	for line := range strings.Lines(err.Error()) {
		if strings.HasPrefix(line, " ") { // a line of a policy file, or the mark under it
			fmt.Fprint(stderr, strings.TrimSuffix(line, "\n")+"\n")
			continue
		}
		fmt.Fprintf(stderr, "sipedge: %s\n", strings.TrimSuffix(line, "\n"))
	}
	if errors.As(err, &usageError{}) {
		fmt.Fprintln(stderr, "sipedge: see sipedge serve --help")
		return exitMisused
	}
	return exitFailed
}

// noArgs refuses words that are no flags.
func noArgs(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case c.HasSubCommands():
		return usageError{fmt.Errorf("%q is no command of sipedge; there are serve, check, schema and version", args[0])}
	}
	return usageError{fmt.Errorf("%q is out of place; the value of a switch needs =, as in --open-relay=on", args[0])}
}
