# Everything a newcomer or a developer does. `make` alone lists it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# In processes of their own: a browser's driver switches stacks, under which CPython 3.11 cannot always print a failure.
BROWSER := tests/page tests/page_html tests/gallery
# Which tests are one process's, and their order: tests/conftest.py.
LONG_FIRST := --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-code test-pages test-comfy check audit sbom bench load faults soak security mutants package deploy sheet-push lock clean

help: ## list what can be done
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY) ## install everything into .venv and .venv-cloud (other targets do this by themselves)

$(READY): requirements-boot.txt requirements-dev.txt sandbox/requirements-cloud.txt client/pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ComfySheet needs Python 3.11 or newer; $(PYTHON) is older. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "installing into .venv (once, about a minute) …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-boot.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e ./client
	@$(PYTHON) -m venv --without-pip .venv-cloud
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-cloud/bin/python --require-hashes -r sandbox/requirements-cloud.txt
	@touch $(READY)

demo: $(READY) ## start the sandbox (ONCE=1: by itself and then end; KEEP=1: keep state; COMFY_URL=…: a real ComfyUI)
	@exec $(BIN)/python -m sandbox $(if $(ONCE),--once) $(if $(KEEP),--keep) \
	  $(if $(COMFY_URL),--comfy-url $(COMFY_URL)) $(if $(PORT),--port $(PORT))

test: test-code test-pages ## run all tests (SIZE=all: five times as many made-up cases, as before a release)

test-code: $(READY)
	@$(if $(SIZE),PROMISES_SIZE=$(SIZE)) $(BIN)/pytest -n 3 $(LONG_FIRST) tests $(BROWSER:%=--ignore %)

test-pages: $(READY)
	@$(BIN)/python -m tests.page.browser
	@$(if $(SIZE),PROMISES_SIZE=$(SIZE)) $(BIN)/pytest -n 2 $(LONG_FIRST) $(BROWSER)

test-comfy: $(READY) ## run the worker's tests against a real ComfyUI (COMFY_URL=…, or one installed for it: 5 GB)
	@$(if $(COMFY_URL),true,$(BIN)/python -m tests.comfy_real.install)
	@COMFY_REAL=1 $(BIN)/pytest tests/comfy_real

check: $(READY) ## lint, types, floors, workflows, the sheet's script, known vulnerabilities of what is shipped
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m infra workflows check
	@$(BIN)/python -m infra sheet check
	@$(BIN)/python -m infra audit --shipped

audit: $(READY) ## look for known vulnerabilities of everything locked, development's too
	@$(BIN)/python -m infra audit --must

bench: $(READY) ## measure; prints a table and writes bench/results/latest.json
	@$(BIN)/python -m bench

load: $(READY) ## load the API and completion, and see how they grow (ONLY=stage|flood|desk|table|sheet|growth|fair; QUICK=1)
	@$(BIN)/python -m bench.load $(ONLY:%=--only %) $(if $(QUICK),--quick)

faults: $(READY) ## break it on purpose, F1 to F18, and count (ONLY='F1 F5'; WITHIN=120: seconds; SIZE=all: every point, an hour)
	@$(BIN)/python -m faults $(ONLY) $(if $(SIZE),--size $(SIZE)) $(if $(WITHIN),--within $(WITHIN))

soak: $(READY) ## mix all faults over a long run and judge every promise (N=2000, SEED=1, REPORT=docs/soak.md)
	@$(BIN)/python -m faults soak --rows $(or $(N),2000) $(if $(SEED),--seed $(SEED)) $(if $(REPORT),--report $(REPORT))

mutants: $(READY) ## change ledger, sweeper and completion a little, 2,300 times, and see what no test notices (an hour)
	@$(BIN)/python -m tests.mutants $(ONLY)

security: $(READY) ## attack it, S1 to S16, and count what gets through: nothing may (SIZE=all: everything, four minutes)
	@PROMISES_SIZE=$(or $(SIZE),ci) $(BIN)/pytest tests/security

package: $(READY) ## build dist/: the CloudFormation template and the functions' zip
	@$(BIN)/python -m infra package

sbom: $(READY) ## build dist/ and write what the zip and the worker are made of (CycloneDX)
	@$(BIN)/python -m infra sbom

deploy: $(READY) ## bring a stage about, whole; repeatable (STAGE=prod, CLIENT=first, PLAN=1: only say what would change)
	@$(BIN)/python -m infra deploy --stage $(or $(STAGE),prod) $(if $(CLIENT),--client $(CLIENT)) $(if $(PLAN),--plan) $(if $(YES),--yes)

sheet-push: $(READY) ## put the script into the sheet that .clasp.json names (STAGE=prod, URL=…; DRY=1: only show it)
	@$(BIN)/python -m infra sheet push --stage $(or $(STAGE),prod) $(if $(URL),--url $(URL)) $(if $(DRY),--dry-run)

# Pins stay as they are; LOCK=--upgrade renews all of them, LOCK='--upgrade-package NAME' one.
COMPILE := $(BIN)/uv pip compile -q --python-version 3.11 --no-header --no-annotate --generate-hashes
lock: ## write the pinned requirements, with their files' hashes, from the *.in files (LOCK=--upgrade: newer ones)
	$(COMPILE) $(LOCK) requirements.in -o requirements.txt
	$(COMPILE) $(LOCK) -c requirements.txt worker/requirements.in -o worker/requirements.txt
	$(COMPILE) $(LOCK) --universal -c requirements.txt -c worker/requirements.txt requirements-dev.in -o requirements-dev.txt
	$(COMPILE) $(LOCK) --universal -c requirements-dev.txt requirements-boot.in -o requirements-boot.txt
	$(COMPILE) $(LOCK) --universal sandbox/requirements-cloud.in -o sandbox/requirements-cloud.txt

clean: ## remove all that was installed or built
	rm -rf .venv .venv-cloud .build dist .sandbox sandbox/page/node_modules tests/page/node_modules infra/apps_script/node_modules infra/apps_script/clasp/node_modules
