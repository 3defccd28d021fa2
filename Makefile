# Everything here sets itself up: Python 3.13 (or uv, which fetches it), npm and make are all that is needed.
PYTHON ?= python3.13
PIP := .venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r
UV_COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header --no-annotate
CONTRACT := PYTHONPATH=layers/customers .venv/bin/python -m tools.contract
# A worker for each processor. The modules that take long come first (tests/conftest.py), whatever they are many of.
PYTEST := .venv/bin/python -m pytest --numprocesses auto --no-loadscope-reorder
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: .venv/.run-ready node_modules/.ready ## Serve the API on http://127.0.0.1:3000 (PORT=…, DATA_DIR=…, ARGS='--parameter Key=Value')
	@.venv/bin/python -m local $(ARGS)

.PHONY: test
test: .venv/.dev-ready .venv/ministack/.ready .venv/.valgrind-ready .venv/proxies/.ready .venv/load/.ready node_modules/.ready tools/lint/node_modules/.ready ## Run the checks and all tests that need no account and no Docker
	@echo "checking format, types, template and contract"
	@$(MAKE) --no-print-directory check
	@# Without a browser, and without the right to install one, only its test is missing: it says so.
	@tools/lint/browser.sh >/dev/null || true
	@$(PYTEST) $(ARGS)

.PHONY: test-quick
test-quick: .venv/.dev-ready node_modules/.ready ## Run the unit tests, and the integration tests that need no cloud: about a minute
	@$(PYTEST) tests/unit tests/integration -m 'not cloud' $(ARGS)

.PHONY: deployed
deployed: .venv/.dev-ready .venv/ministack/.ready ## Deploy the stack with sam into an emulated cloud, and test it there
	@.venv/bin/python -m pytest tests/deployed $(ARGS)

.PHONY: sam-local
sam-local: .venv/.dev-ready ## With Docker: serve on http://127.0.0.1:3001 by sam local, on the data of `make run` in another terminal
	@SAM_CLI_TELEMETRY=0 PATH="$(CURDIR)/.venv/bin:$$PATH" sam build >/dev/null
	@.venv/bin/python -m local.sam_local $(ARGS)

.PHONY: check
check: .venv/.dev-ready .venv/checkov/.ready tools/lint/node_modules/.ready ## Lint, check types, validate and scan the template, check the contract
	@.venv/bin/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format ." >&2; exit 1; }
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy --no-error-summary
	@PYTHONPATH=layers/customers:. .venv/bin/lint-imports >/dev/null || PYTHONPATH=layers/customers:. .venv/bin/lint-imports
	@.venv/bin/cfn-lint template.yaml
	@SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 .venv/bin/sam validate --lint
	@.venv/checkov/bin/checkov --config-file .checkov.yaml
	@$(CONTRACT) --check
	@tools/lint/node_modules/.bin/spectral lint --quiet --fail-severity hint --ruleset tools/lint/spectral.yaml docs/openapi.yaml
	@REDOCLY_SUPPRESS_UPDATE_NOTICE=true tools/lint/node_modules/.bin/redocly lint --config tools/lint/redocly.yaml docs/openapi.yaml >/dev/null 2>&1 \
		|| tools/lint/node_modules/.bin/redocly lint --config tools/lint/redocly.yaml docs/openapi.yaml

.PHONY: fuzz
fuzz: .venv/.dev-ready node_modules/.ready ## Fuzz the service by its contract, 20,000 requests (ARGS='--max-examples 100' for a short run, ARGS='--seed 7' to repeat one)
	@.venv/bin/python -m tests.fuzz $(ARGS)

.PHONY: mutants
mutants: .venv/.mutants-ready node_modules/.ready ## Break the code in 500 small ways, and see whether the tests notice (ARGS='--sample 50')
	@PYTHONPATH=$(CURDIR)/.venv/mutants .venv/bin/python -m tools.mutants $(ARGS)

.PHONY: fuzz-reading
fuzz-reading: .venv/.dev-ready ## Look for the file that takes the longest per byte to read, for an hour (ARGS='--seconds 60' for a short run)
	@PYTHONPATH=layers/customers .venv/bin/python -m tests.fuzz.reading $(ARGS)

.PHONY: docs
docs: .venv/.run-ready .venv/site/.ready node_modules/.ready tools/site/node_modules/.ready ## Build all documents and the reference page into a site, build/docs (API=https://… is what the page calls)
	@.venv/bin/python -m tools.site build/docs $(if $(API),--api $(API))

.PHONY: clients
clients: .venv/.dev-ready .venv/clients/.debian-ready node_modules/.ready tools/clients/node_modules/.ready ## Generate clients with every common generator, run a scenario with each, write the table of docs/clients.md
	@.venv/bin/python -m tools.clients $(ARGS)

.PHONY: client
client: .venv/.dev-ready ## Generate a Python client to build/client
	@mkdir -p build/client
	@PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/openapi-python-client generate --path docs/openapi.yaml --meta none --overwrite \
		--output-path build/client/customers_api_client

.PHONY: screenshot
screenshot: .venv/.dev-ready node_modules/.ready tools/lint/node_modules/.ready ## Take the pictures of the reference page, docs/reference-light.png and -dark.png
	@.venv/bin/python -m tests.browser docs

.PHONY: openapi
openapi: .venv/.dev-ready ## Write the contract from the code: docs/openapi.yaml, its request collection, the tables of the docs
	@$(CONTRACT)

.PHONY: audit
audit: .venv/.dev-ready ## Look up known vulnerabilities of all that is pinned (ARGS=--required)
	@.ci/audit $(ARGS)

.PHONY: bench
bench: .venv/.bench-ready node_modules/.ready ## Compare the functions with bare boto3 and the usual frameworks
	@PYTHONPATH=layers/customers .venv/bin/python -m tools.benchmarks.ladder $(ARGS)

.PHONY: instructions
instructions: .venv/.dev-ready .venv/.valgrind-ready node_modules/.ready ## Count what each function's start costs, and write the figures that the tests compare with
	@PYTHONPATH=layers/customers .venv/bin/python -m tools.benchmarks.instructions

.PHONY: bench-http
bench-http: .venv/.dev-ready node_modules/.ready ## Measure the whole service on this machine under load
	@PYTHONPATH=layers/customers .venv/bin/python -m tools.benchmarks.http_load $(ARGS)

.PHONY: load
load: .venv/load/.ready ## Call a stack at a rate, and measure it: TOKEN=$(cat .local/token) make load URL=… (RATE=10 SECONDS=60 CONNECTIONS=20)
	@.venv/load/bin/python -m tools.load --url '$(URL)' --rate $(or $(RATE),10) --seconds $(or $(SECONDS),60) --connections $(or $(CONNECTIONS),20)

.PHONY: bench-pages
bench-pages: .venv/.dev-ready node_modules/.ready ## Measure what a page costs in a group of 100 and of 100,000
	@PYTHONPATH=layers/customers .venv/bin/python -m tools.benchmarks.pages $(ARGS)

.PHONY: bench-writes
bench-writes: .venv/.dev-ready node_modules/.ready ## Measure what each write costs, and a read by external id
	@PYTHONPATH=layers/customers .venv/bin/python -m tools.benchmarks.writes

.PHONY: bench-imports
bench-imports: .venv/.dev-ready node_modules/.ready ## Measure imports: the worker beside `batch_writer`, then whole files (ARGS='10000 1000000')
	@# Without awscrt, which SAM brings here and no layer has: botocore would sign with it, and slower.
	@BOTO_DISABLE_CRT=true PYTHONPATH=layers/customers .venv/bin/python -m tools.benchmarks.import_worker
	@PYTHONPATH=layers/customers .venv/bin/python -m tools.benchmarks.imports $(ARGS)

.PHONY: bench-sync
bench-sync: .venv/.dev-ready node_modules/.ready ## Take 100,000 customers through a nightly sync, an export and an edited export, and count what is written (ARGS='--rows 2000')
	@PYTHONPATH=layers/customers .venv/bin/python -m tools.benchmarks.sync $(ARGS)

.PHONY: reliability
reliability: .venv/.dev-ready node_modules/.ready ## Let things fail, count what is lost, and write docs/reliability.md
	@PYTHONPATH=layers/customers .venv/bin/python -m tools.benchmarks.reliability $(ARGS)

.PHONY: pins
pins: .venv/.dev-ready ## Renew all pinned requirements from the .in files (ARGS=--upgrade)
	@$(UV_COMPILE) $(ARGS) requirements/dev.in -o requirements/dev.txt
	@$(UV_COMPILE) $(ARGS) requirements/checkov.in -o requirements/checkov.txt
	@$(UV_COMPILE) $(ARGS) requirements/ministack.in -o requirements/ministack.txt
	@$(UV_COMPILE) $(ARGS) requirements/clients.in -o requirements/clients.txt
	@$(UV_COMPILE) $(ARGS) requirements/mutants.in -o requirements/mutants.txt
	@$(UV_COMPILE) $(ARGS) requirements/load.in -o requirements/load.txt
	@$(UV_COMPILE) $(ARGS) requirements/site.in -o requirements/site.txt
	@$(UV_COMPILE) $(ARGS) requirements/run.in -c requirements/dev.txt -o requirements/run.txt
	@$(UV_COMPILE) $(ARGS) layers/customers/requirements.in -c requirements/dev.txt -o layers/customers/requirements.txt
	@for folder in tools/benchmarks tools/benchmarks/peers/boto3 tools/benchmarks/peers/fastapi tools/benchmarks/peers/flask tools/benchmarks/peers/powertools; do \
		$(UV_COMPILE) $(ARGS) $$folder/requirements.in -c layers/customers/requirements.txt -o $$folder/requirements.txt || exit 1; done

.PHONY: npm
npm:
	@[ -e node_modules/.ready ] || command -v npm >/dev/null || { echo "$$NO_NPM" >&2; exit 1; }

define NO_NPM
error: npm is needed, and it is not on the PATH. Nothing has been installed. To get it:
  Debian, Ubuntu  sudo apt install npm
  Fedora          sudo dnf install nodejs-npm
  macOS           brew install node
endef
define NO_PYTHON
error: Python 3.13 is needed, and it is not on the PATH. Nothing has been installed. To get it:
  any system      curl -LsSf https://astral.sh/uv/install.sh | sh    (uv: this command then fetches Python by itself)
  Debian 13       sudo apt install python3.13-venv
  Ubuntu          sudo add-apt-repository ppa:deadsnakes/ppa && sudo apt install python3.13-venv
  Fedora          sudo dnf install python3.13
  macOS           brew install python@3.13
Or name the program: make run PYTHON=/path/to/python3.13
endef
define NO_VENV
error: the environment .venv could not be made. On Debian and Ubuntu: sudo apt install python3.13-venv
endef
export NO_NPM NO_PYTHON NO_VENV

# npm is looked for first, so that nothing is installed where it is missing.
WITH_NPM := run docs test test-quick check clients fuzz mutants screenshot bench instructions bench-http bench-pages bench-writes bench-imports bench-sync reliability
.venv/pyvenv.cfg: | $(if $(filter $(WITH_NPM),$(MAKECMDGOALS)),npm)
	@for name in $(PYTHON) python3; do \
		"$$name" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null && python=$$name && break; done; \
	if [ -z "$$python" ]; then \
		command -v uv >/dev/null || { echo "$$NO_PYTHON" >&2; exit 1; }; \
		echo "fetching Python 3.13 with uv (first time only)"; \
		uv python install 3.13 && python=$$(uv python find 3.13) || { echo "$$NO_PYTHON" >&2; exit 1; }; fi; \
	echo "making .venv (first time only)"; \
	"$$python" -m venv .venv || { rm -rf .venv; echo "$$NO_VENV" >&2; exit 1; }

# What `make run` and ./customers need; the laptop cloud installs the functions' own packages elsewhere. Bytecode is left to
# the first start, which needs a third of it: that halves the installation.
.venv/.run-ready: requirements/run.txt | .venv/pyvenv.cfg
	@echo "installing what the laptop cloud and ./customers run on (first time only)"
	@$(PIP) requirements/run.txt --no-compile
	@touch $@

# What the checks and the tests need, in the same environment and the same versions.
.venv/.dev-ready: requirements/dev.txt | .venv/pyvenv.cfg
	@echo "installing what the checks and the tests run on (first time only)"
	@$(PIP) requirements/dev.txt
	@touch .venv/.run-ready $@

# Tools whose pins contradict ours have an environment of their own.
.venv/%/.ready: requirements/%.txt | .venv/pyvenv.cfg
	@echo "installing $* (first time only)"
	@.venv/bin/python -m venv .venv/$*
	@.venv/$*/bin/pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Counts instructions. Where it cannot be had (macOS) or nobody may install it, the test that needs it says so and is skipped.
.venv/.valgrind-ready: | .venv/pyvenv.cfg
	@command -v valgrind >/dev/null || { \
		as_root=$$([ "$$(id -u)" = 0 ] || [ -z "$$CI" ] || echo sudo -n); \
		echo "installing valgrind (first time only)"; \
		{ $$as_root apt-get -qq update && $$as_root apt-get -qq install --yes valgrind; } >/dev/null 2>&1 || \
			echo "valgrind cannot be installed here: one test will be skipped"; }
	@touch $@

# Proxies that people put in front of the API, unpacked and not installed, so that none is started. Where there is no apt
# (macOS, Fedora), their tests say so and are skipped.
.venv/proxies/.ready: | .venv/pyvenv.cfg
	@mkdir -p .venv/proxies
	@command -v apt-get >/dev/null && { \
		echo "fetching nginx and Apache (first time only)"; \
		cd .venv/proxies && apt-get -qq download nginx apache2-bin libapr1 libaprutil1 && \
		for package in *.deb; do dpkg -x "$$package" . && rm "$$package"; done; } >/dev/null 2>&1 || \
			echo "nginx and Apache cannot be had here: their tests will be skipped"
	@touch $@

# What the Java and Go clients are compiled with beside the generator itself, unpacked and not installed.
.venv/clients/.debian-ready: .venv/clients/.ready
	@mkdir -p .venv/clients/debian
	@command -v apt-get >/dev/null && { \
		cd .venv/clients/debian && apt-get -qq download libgeronimo-annotation-1.3-spec-java golang-gopkg-validator.v2-dev && \
		for package in *.deb; do dpkg -x "$$package" . && rm "$$package"; done && \
		printf 'module gopkg.in/validator.v2\n' > usr/share/gocode/src/gopkg.in/validator.v2/go.mod; } >/dev/null 2>&1 || \
			echo "what Java and Go clients need cannot be had here: they will not compile"
	@touch $@

# Lambda's own runtime client, apart from everything else: the functions measured see it as they do in Lambda.
.venv/.bench-ready: tools/benchmarks/requirements.txt | .venv/.dev-ready
	@echo "installing Lambda's runtime client (first time only)"
	@rm -rf .venv/lambda-runtime
	@$(PIP) tools/benchmarks/requirements.txt --target .venv/lambda-runtime
	@touch $@

# Beside the tests' packages, in the same versions: mutmut runs the tests in its own process.
.venv/.mutants-ready: requirements/mutants.txt | .venv/.dev-ready
	@echo "installing mutmut (first time only)"
	@rm -rf .venv/mutants
	@$(PIP) requirements/mutants.txt --target .venv/mutants
	@touch $@

node_modules/.ready: package.json package-lock.json tools/scalar.mjs
	@command -v npm >/dev/null || { echo "$$NO_NPM" >&2; exit 1; }
	@echo "installing the database engine and the reference page (first time only)"
	@npm ci --no-audit --no-fund --no-update-notifier --loglevel=error --no-progress >/dev/null
	@node tools/scalar.mjs
	@touch $@

# What the checks and the tests of the contract run on, each in the version and with the hash that the lock has.
tools/%/node_modules/.ready: tools/%/package.json tools/%/package-lock.json
	@command -v npm >/dev/null || { echo "$$NO_NPM" >&2; exit 1; }
	@echo "installing what tools/$* runs on (first time only)"
	@cd tools/$* && npm ci --no-audit --no-fund --no-update-notifier --loglevel=error --no-progress >/dev/null
	@touch $@
