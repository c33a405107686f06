package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sipedge/config"
	"sipedge/parser"
)

// version is set by the linker (see Makefile).
var version string

// programVersion falls back to what a plain go build or go install knows.
func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func versionCommand(environ []string, stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, Go, CPU features in use and chosen backends",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			// The backends are those that serve would choose in this environment.
			cfg, err := config.Register(pflag.NewFlagSet("", pflag.ContinueOnError)).Load(environ)
			if err != nil {
				return usageError{err}
			}
			printVersion(stdout, cfg)
			return nil
		},
	}
}

func printVersion(w io.Writer, cfg *config.Config) {
	fmt.Fprintf(w, "sipedge  %s\n", programVersion())
	fmt.Fprintf(w, "go       %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(w, "cpu      %s, %d for this process\n", cpuid.CPU.BrandName, runtime.NumCPU())
	fmt.Fprintf(w, "features %s\n", strings.Join(features(), " "))
	fmt.Fprintf(w, "parser   %s\n", scanForm())
	fmt.Fprintf(w, "udp-io   %s, %d loops\n", cfg.UDPIO, cfg.Loops)
}

// scanForm is how the parser looks for delimiters here.
func scanForm() string {
	if a := parser.Acceleration(); a != "none" {
		return a
	}
	return "portable"
}

// features are those of this CPU that something in this binary uses when they are there.
func features() (names []string) {
	used := []cpuid.FeatureID{cpuid.AESNI, cpuid.AESARM} // crypto/aes: the MAC of each Via branch
	if parser.Acceleration() == "avx2" {
		used = append(used, cpuid.AVX2, cpuid.BMI1, cpuid.POPCNT)
	}
	for _, f := range used {
		if cpuid.CPU.Supports(f) {
			names = append(names, f.String())
		}
	}
	if names == nil {
		names = []string{"none"}
	}
	return names
}
