# Every target makes its own venv from bare python3 when there is none.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SYNC := UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --quiet --locked --compile-bytecode --all-extras

.PHONY: demo test engines lint bench bench-redaction run clean

demo: $(STAMP)
	$(BIN)/clearspan demo

run: $(STAMP)
	$(BIN)/clearspan run

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal

# pandas and Spark (586 MB), so that `make test` reads the lake with them as well
engines: $(STAMP)
	$(SYNC) --group engines

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m tests.bench

bench-redaction: $(STAMP)
	$(BIN)/python -m tests.bench.redaction_quality --misses

clean:
	rm -rf $(VENV) clearspan-data

$(STAMP): pyproject.toml uv.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	$(SYNC)
	touch $(STAMP)
