# Everything here sets itself up: Python 3.13, Node and make are all that is needed.
PYTHON ?= python3.13
PIP := .venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r
UV_COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header --no-annotate
CONTRACT := PYTHONPATH=layers/customers .venv/bin/python -m contract
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
test: .venv/.dev-ready .venv/ministack/.ready .venv/.valgrind-ready node_modules/.ready tools/node_modules/.ready ## Run the checks and all tests that need no account and no Docker
	@echo "checking format, types, template and contract"
	@$(MAKE) --no-print-directory check
	@# Without a browser, and without the right to install one, only its test is missing: it says so.
	@tools/browser.sh >/dev/null || true
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
check: .venv/.dev-ready .venv/checkov/.ready tools/node_modules/.ready ## Lint, check types, validate and scan the template, check the contract
	@.venv/bin/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format ." >&2; exit 1; }
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/cfn-lint template.yaml
	@SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 .venv/bin/sam validate --lint
	@.venv/checkov/bin/checkov --config-file .checkov.yaml
	@$(CONTRACT) --check
	@tools/node_modules/.bin/spectral lint --quiet --fail-severity hint --ruleset tools/spectral.yaml docs/openapi.yaml
	@REDOCLY_SUPPRESS_UPDATE_NOTICE=true tools/node_modules/.bin/redocly lint --config tools/redocly.yaml docs/openapi.yaml >/dev/null 2>&1 \
		|| tools/node_modules/.bin/redocly lint --config tools/redocly.yaml docs/openapi.yaml

.PHONY: fuzz
fuzz: .venv/.dev-ready node_modules/.ready ## Fuzz the service by its contract, 20,000 requests (ARGS='--max-examples 100' for a short run, ARGS='--seed 7' to repeat one)
	@.venv/bin/python -m tests.fuzz $(ARGS)

.PHONY: docs
docs: .venv/.run-ready node_modules/.ready ## Write the reference page as files to build/docs (API=https://… is what it calls)
	@.venv/bin/python -m local.reference build/docs $(if $(API),--api $(API))

.PHONY: client
client: .venv/.dev-ready ## Generate a Python client to build/client
	@mkdir -p build/client
	@PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/openapi-python-client generate --path docs/openapi.yaml --meta none --overwrite \
		--output-path build/client/customers_api_client

.PHONY: screenshot
screenshot: .venv/.dev-ready node_modules/.ready tools/node_modules/.ready ## Take the picture of the reference page, docs/try.png
	@.venv/bin/python -m tests.browser docs/try.png

.PHONY: openapi
openapi: .venv/.dev-ready ## Write the contract from the code: docs/openapi.yaml, its request collection, the tables of the docs
	@$(CONTRACT)

.PHONY: audit
audit: .venv/.dev-ready ## Look up known vulnerabilities of all that is pinned (ARGS=--required)
	@.ci/audit $(ARGS)

.PHONY: bench
bench: .venv/.bench-ready node_modules/.ready ## Compare the functions with bare boto3 and the usual frameworks
	@PYTHONPATH=layers/customers .venv/bin/python -m benchmarks.ladder $(ARGS)

.PHONY: bench-http
bench-http: .venv/.dev-ready node_modules/.ready ## Measure the whole service on this machine under load
	@PYTHONPATH=layers/customers .venv/bin/python -m benchmarks.http_load $(ARGS)

.PHONY: bench-pages
bench-pages: .venv/.dev-ready node_modules/.ready ## Measure what a page costs in a group of 100 and of 100,000
	@PYTHONPATH=layers/customers .venv/bin/python -m benchmarks.pages $(ARGS)

.PHONY: bench-writes
bench-writes: .venv/.dev-ready node_modules/.ready ## Measure what each write costs, with and without an Idempotency-Key
	@PYTHONPATH=layers/customers .venv/bin/python -m benchmarks.writes

.PHONY: bench-imports
bench-imports: .venv/.dev-ready node_modules/.ready ## Measure imports: the worker beside `batch_writer`, then whole files (ARGS='10000 1000000')
	@# Without awscrt, which SAM brings here and no layer has: botocore would sign with it, and slower.
	@BOTO_DISABLE_CRT=true PYTHONPATH=layers/customers .venv/bin/python -m benchmarks.import_worker
	@PYTHONPATH=layers/customers .venv/bin/python -m benchmarks.imports $(ARGS)

.PHONY: reliability
reliability: .venv/.dev-ready node_modules/.ready ## Let things fail, count what is lost, and write docs/reliability.md
	@PYTHONPATH=layers/customers .venv/bin/python -m benchmarks.reliability $(ARGS)

.PHONY: pins
pins: .venv/.dev-ready ## Renew all pinned requirements from the .in files (ARGS=--upgrade)
	@$(UV_COMPILE) $(ARGS) requirements-dev.in -o requirements-dev.txt
	@$(UV_COMPILE) $(ARGS) requirements-checkov.in -o requirements-checkov.txt
	@$(UV_COMPILE) $(ARGS) requirements-ministack.in -o requirements-ministack.txt
	@$(UV_COMPILE) $(ARGS) local/requirements.in -c requirements-dev.txt -o local/requirements.txt
	@$(UV_COMPILE) $(ARGS) layers/customers/requirements.in -c requirements-dev.txt -o layers/customers/requirements.txt
	@for folder in benchmarks benchmarks/peers/boto3 benchmarks/peers/fastapi benchmarks/peers/flask benchmarks/peers/powertools; do \
		$(UV_COMPILE) $(ARGS) $$folder/requirements.in -c layers/customers/requirements.txt -o $$folder/requirements.txt || exit 1; done

.venv/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is needed and not on the PATH" >&2; exit 1; }
	@echo "making .venv (first time only)"
	@$(PYTHON) -m venv .venv

# What `make run` needs; its functions' own packages the laptop cloud installs apart.
.venv/.run-ready: local/requirements.txt | .venv/pyvenv.cfg
	@echo "installing what the laptop cloud runs on (first time only)"
	@$(PIP) local/requirements.txt
	@touch $@

# What the checks and the tests need, in the same environment and the same versions.
.venv/.dev-ready: requirements-dev.txt | .venv/pyvenv.cfg
	@echo "installing what the checks and the tests run on (first time only)"
	@$(PIP) requirements-dev.txt
	@touch .venv/.run-ready $@

# Tools whose pins contradict ours have an environment of their own.
.venv/%/.ready: requirements-%.txt | .venv/pyvenv.cfg
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

# Lambda's own runtime client, apart from everything else: the functions measured see it as they do in Lambda.
.venv/.bench-ready: benchmarks/requirements.txt | .venv/.dev-ready
	@echo "installing Lambda's runtime client (first time only)"
	@rm -rf .venv/lambda-runtime
	@$(PIP) benchmarks/requirements.txt --target .venv/lambda-runtime
	@touch $@

node_modules/.ready: package.json
	@command -v npm >/dev/null || { echo "error: Node with npm is needed and not on the PATH" >&2; exit 1; }
	@echo "installing the database engine and the reference page (first time only)"
	@npm install --no-save --no-package-lock --no-audit --no-fund --no-update-notifier --loglevel=error --no-progress >/dev/null
	@touch $@

# What the checks and the tests of the contract run on, each in the version and with the hash that the lock has.
tools/node_modules/.ready: tools/package.json tools/package-lock.json
	@command -v npm >/dev/null || { echo "error: Node with npm is needed and not on the PATH" >&2; exit 1; }
	@echo "installing what checks the contract (first time only)"
	@cd tools && npm ci --no-audit --no-fund --no-update-notifier --loglevel=error --no-progress >/dev/null
	@touch $@
