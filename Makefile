# Everything goes through `.venv`, which is made from the hash-locked requirements when they have changed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo ui check test bench lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: .venv/.installed ## a shop's PostgreSQL, files and API, loaded into bronze, silver and gold Iceberg tables
	@$(BIN)/lakehouse demo

ui: .venv/.installed ## the Dagster UI over the demo's tables
	@$(BIN)/lakehouse ui

check: .venv/.installed ## format, lint, types, layers, contracts
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/lakehouse check

test: .venv/.installed ## the tests (PYTEST="-k orders" for some of them)
	$(BIN)/pytest -n auto --dist loadfile $(PYTEST)

bench: .venv/.installed ## the benchmarks (BENCH=name for one of them)
	$(BIN)/python -m bench $(BENCH)

lock: .venv/.installed ## resolve the requirements anew
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.lock

clean: ## stop the embedded services and remove all state
	@if [ -x $(BIN)/lakehouse ]; then $(BIN)/lakehouse service down --remove; fi
	rm -rf .lakehouse dbt/models/_generated dbt/macros/_generated

.venv/.installed: deploy/uv.lock requirements.lock pyproject.toml
	@$(PYTHON) -m lakehouse.bootstrap
	@touch $@
