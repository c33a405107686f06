#!/bin/sh
# Runs every fuzz target of the given packages for FUZZTIME each, one after the other.
set -eu

for pkg in "$@"; do
	targets=$(go test -list '^Fuzz' "$pkg" | grep '^Fuzz') || { echo "fuzz: $pkg has no targets" >&2; exit 1; }
	for target in $targets; do
		echo "fuzz: $pkg $target, ${FUZZTIME}"
		go test -run '^$' -fuzz "^$target\$" -fuzzminimizetime 10x -fuzztime "$FUZZTIME" "$pkg"
	done
done
