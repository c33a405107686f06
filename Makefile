# What one does with this repository. `make` alone lists the targets.
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 30s
# Packages whose goroutines share memory: there the race detector pays.
SHARING  := ./txn/... ./router/... ./transport/... ./config/... ./admin/... ./cmd/...
export FUZZTIME

.DEFAULT_GOAL := help
.PHONY: help run demo build test lint check bench bench-overload bench-peers bench-resilience bench-parser fuzz sipp cover deps

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build and serve on 127.0.0.1:5060 with no configuration
	bin/sipedge serve

demo: build ## start on a free port, place one real call through it and print the call's ladder
	go run ./bench/demo -sipedge bin/sipedge

build: ## make bin/sipedge, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/sipedge ./cmd/sipedge

test: deps ## install what the tests need and run them all; RACE=1: the sharing ones under the race detector
	go vet ./... && go test $(if $(RACE),-race $(SHARING),./...)

lint: ## gofmt, vet, staticcheck, import arrows, no clocks in the core
	build/lint.sh

check: ## what CI runs: lint, tests with and without the race detector, fuzzing
	.ci/run

bench: build ## Go benchmarks, then memory, pauses and idle CPU of a whole process
	go test -run '^$$' -bench . -benchmem ./...
	go run ./bench/memory -sipedge bin/sipedge

bench-overload: build deps ## calls from half of what is carried to four times as much, beside Kamailio
	go run ./bench/overload -sipedge bin/sipedge

bench-peers: build deps ## side by side with Kamailio: calls/s, CPU per call, ratio
	go run ./bench/peers -sipedge bin/sipedge

bench-resilience: build ## calls while DNS, a gateway, a TCP peer or the log fail; idle TLS connections; 4 minutes
	go run ./bench/resilience -sipedge bin/sipedge

bench-parser: ## the parser against sipgo's on one mix of messages
	cd bench/parser && go run .

fuzz: ## every fuzz target for FUZZTIME (30s) each
	build/fuzz.sh ./fuzz ./router/resolve

sipp: build deps ## real SIPp calls through the binary, every scenario in both modes
	go run ./bench/sipp -sipedge bin/sipedge

cover: deps ## statement coverage by function
	go test -coverprofile=cover.out ./... && go tool cover -func=cover.out

deps: ## install the programs that the tests talk to (apt-get; prints the command when not root)
	build/deps.sh
