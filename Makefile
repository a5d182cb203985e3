# Everything goes through `.venv`, which is made from the hash-locked requirements when they have changed.
PYTHON ?= python3
BIN := .venv/bin
# Tests wait for disks, processes and servers: one more at a time than there are cores.
WORKERS = $(shell $(PYTHON) -c "import os; print(1 + (os.cpu_count() or 1))")

.PHONY: help demo ui services services-down check test test-services live interop defects mutants bench lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

demo: .venv/.installed ## a shop's PostgreSQL, files and API, loaded into bronze, silver and gold Iceberg tables
	@$(BIN)/lakehouse demo

ui: .venv/.installed ## the Dagster UI over the demo's tables
	@$(BIN)/lakehouse ui

services: .venv/.installed ## profile local: build (once, into .cache), start and check S3 and PostgreSQL (S3=versitygw: not MinIO)
	@LAKEHOUSE_PROFILE=local $(BIN)/lakehouse service up $(if $(S3),--s3 $(S3))

services-down: .venv/.installed ## stop the services of profile local; what they hold stays
	@LAKEHOUSE_PROFILE=local $(BIN)/lakehouse service down

check: .venv/.installed ## format, lint, types, layers, contracts
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/lakehouse contract check
	$(BIN)/lakehouse check

test: .venv/.installed ## the tests that need no server of others (PYTEST="-k orders" for some of them)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not services and not defects and not interop and not live" $(PYTEST)

test-services: .venv/.installed ## the tests on MinIO, VersityGW, a REST catalog, Toxiproxy (built first, once, into .cache), and in a browser
	@$(BIN)/lakehouse service install
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m services $(PYTEST)

live: .venv/.installed ## late data in a real UI with its daemon: files, database rows, kills, lost cursors; ten minutes
	$(BIN)/pytest -n 1 --dist loadfile -m live assets_tests/live $(PYTEST)

interop: .venv/.installed ## Spark (fetched first, once, into .cache) reads and writes the demo's tables after upkeep; needs Java and Maven
	@$(BIN)/python -m bench.spark install
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m interop assets_tests/interop $(PYTEST)

defects: .venv/.installed ## break the shop in one way after the other: which rule notices (docs/quality.md); twenty shops are left whole
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder -m defects assets_tests/defects $(PYTEST)

mutants: .venv/.installed ## switch each guard of the commit protocol off: a named test must notice (MUTANTS="three-rounds" for some)
	$(BIN)/python assets_tests/faults/mutate.py $(MUTANTS)

bench: .venv/.installed ## the benchmarks (BENCH=name for one of them)
	$(BIN)/python -m bench $(BENCH)

lock: .venv/.installed ## resolve the requirements anew
	$(BIN)/uv pip compile pyproject.toml --group dev --extra dlt --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.lock

clean: ## stop the services and remove all state; .cache stays: servers and Spark by version, minutes of work
	@if [ -x $(BIN)/lakehouse ]; then \
	  if [ -d .lakehouse/local ]; then LAKEHOUSE_PROFILE=local $(BIN)/lakehouse service down --remove; fi; \
	  $(BIN)/lakehouse service down --remove; fi
	rm -rf .lakehouse dbt/models/_generated dbt/macros/_generated

.venv/.installed: deploy/uv.lock requirements.lock pyproject.toml
	@$(PYTHON) -m lakehouse.bootstrap
	@touch $@
