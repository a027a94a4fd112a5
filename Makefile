# What one does here. `make demo` and `make test` work on a fresh Debian machine with Go, as root: each installs what it
# lacks, or says in one line what to install.

GO       ?= go
FUZZTIME ?= 60s
KILLS    ?= 500
TRIALS   ?= 10000
SAMPLES  ?= 20000
SOAK     ?= 10m

# With the race detector, but for SQLite: that is C translated into Go, whose memory lies outside of Go's heap, where the detector
# sees nothing. It would take much of the time of the tests for that. The driver around it is Go and watched: what it has of generic
# code (sync.Map) is everybody's once it is linked.
RACE = -race -gcflags='modernc.org/...=-d=checkptr=0' -gcflags='modernc.org/sqlite/lib=-race=false'

.PHONY: help demo run build test check lint fuzz fuzz-short campaign payloads timing cluster soak image cross release-snapshot bench kill client-typescript golden clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## everything at once on throwaway data, with curl lines to try
	@scripts/need curl:curl
	bin/gatehouse demo

run: demo

build: ## the binary, in bin/
	$(GO) build -trimpath -o bin/gatehouse ./cmd/gatehouse

test: ## all tests, with the race detector
	@scripts/need gcc:gcc /usr/include/stdlib.h:libc6-dev curl:curl php:php-cli python3:python3 sqlite3:sqlite3 node:nodejs npm:npm chromium:chromium bash:bash /usr/sbin/nginx:nginx caddy:caddy '/usr/lib/postgresql/*/bin/postgres:postgresql'
	@scripts/need promtool:prometheus redis-server:redis-server
	GORACE=atexit_sleep_ms=0 $(GO) test $(RACE) -shuffle=on -timeout 20m ./...

check: lint test ## the linters, then all tests

lint: ## gofumpt, vet, staticcheck, govulncheck
	@unformatted=$$($(GO) tool gofumpt -l .); if [ -n "$$unformatted" ]; then echo "not formatted (run: go tool gofumpt -w .):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	scripts/vulncheck

fuzz: ## every fuzz target for FUZZTIME (60s) each
	scripts/fuzz $(FUZZTIME)

fuzz-short: ## every fuzz target for some seconds
	scripts/fuzz 3s

campaign: ## what takes too long under the race detector, at full size and without it
	$(GO) test -count=1 -v -run 'TestBodiesAreNotHeld|TestCallersDoNotCross|TestWithoutOurMember|TestParsersAgree' ./internal/gateway
	GATEHOUSE_TRIALS=$(TRIALS) $(GO) test -count=1 -v -run TestAnswersCutAnywhere ./client
	$(GO) test -count=1 -v -run 'Hundred|Racing|OfMany|WhateverTheClockDoes' ./internal/server

payloads: ## every payload in every field that pages show, in Chromium
	@scripts/need chromium:chromium
	GATEHOUSE_PAYLOADS=200 $(GO) test -count=1 -timeout 30m -v -run TestPayloadsInBrowser ./e2e

timing: ## whether failures can be told apart by time, SAMPLES (20000) of each manner, on a machine with little else to do
	GATEHOUSE_SAMPLES=$(SAMPLES) $(GO) test -count=1 -timeout 60m -v -run TestNoCallerCanTellByTime ./internal/server

cluster: ## three replicas, killed, frozen, cut off and failed over, at full length
	@scripts/need '/usr/lib/postgresql/*/bin/postgres:postgresql' redis-server:redis-server /usr/sbin/nginx:nginx
	GATEHOUSE_FULL=1 $(GO) test -count=1 -timeout 60m -v ./e2e/cluster

soak: ## three replicas at half of what they can do, for SOAK (10m)
	@scripts/need '/usr/lib/postgresql/*/bin/postgres:postgresql' redis-server:redis-server /usr/sbin/nginx:nginx
	GATEHOUSE_SOAK=$(SOAK) $(GO) test -count=1 -timeout 120m -run TestSoak -v ./e2e/cluster

image: ## the container image, gatehouse:local
	scripts/image gatehouse:local

cross: ## whether it compiles where it is not tested
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...

release-snapshot: ## what a release of this commit would be, in dist/ (compiles GoReleaser first)
	GOFLAGS= $(GO) run github.com/goreleaser/goreleaser/v2@v2.13.3 release --snapshot --clean

bench: ## what the server costs, against floor programs, as ratios
	$(GO) run ./bench/run

kill: ## kill -9 under load, KILLS (500) times
	GATEHOUSE_KILLS=$(KILLS) $(GO) test -count=1 -timeout 120m -run TestKill -v ./e2e

client-typescript: ## the package @gatehouse/client, built and tested without a server
	@scripts/need node:nodejs npm:npm
	cd clients/typescript && npm ci --ignore-scripts --no-audit --no-fund && npm run build && npm test

screenshots: ## a picture of every page, wide and narrow, light and dark, in screenshots/
	@scripts/need chromium:chromium node:nodejs npm:npm
	mkdir -p screenshots
	GATEHOUSE_SCREENSHOTS=$(CURDIR)/screenshots $(GO) test ./e2e -run 'TestManualInBrowser|TestDashboardsInBrowser' -count=1

golden: ## write the expected outputs of tests anew
	UPDATE_GOLDEN=1 $(GO) test ./...

clean: ## what was built
	rm -rf bin
