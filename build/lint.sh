#!/bin/sh
# Format, vet, staticcheck, import arrows; the first that finds something ends it.
set -eu

unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
	echo "not formatted with gofmt:" >&2
	echo "$unformatted" >&2
	exit 1
fi
go vet ./...
(cd bench/parser && go vet ./...) # a module of its own, so that the server does not depend on its rivals
go tool -modfile=tools.mod staticcheck ./...
go run ./build/lint
