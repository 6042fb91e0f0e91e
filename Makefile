# Every path is relative, so the project works in any folder, one with a space in its name too.

# The first of these that is new enough makes .venv. Another: make setup PYTHON=/path/to/python
PYTHON = python3 python3.14 python3.13 python3.12 python3.11

BIN := .venv/bin
# More than two processors: much of a test is waiting for other processes.
WORKERS = 3

# Images of containers set it. Each of the many processes here would compile the thousands of modules it imports, and
# keep nothing: three seconds a start of the service.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test coverage test-long test-large check check-style check-types check-imports check-sql \
	check-locks format lock bench bench-large clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: ## Create .venv from the hash-pinned locks and prepare the models (does nothing when up to date)
	@$(call run_setup,)

setup-dev:
	@$(call run_setup,--dev)

define run_setup
for python in $(PYTHON); do \
	if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		exec $$python tools/setup.py $(1); \
	fi; \
done; \
echo 'Undercroft needs Python 3.11 or newer with its venv module (on Debian and Ubuntu: apt install' >&2; \
echo 'python3-venv). If yours is not on the PATH: make $(MAKECMDGOALS) PYTHON=/path/to/python' >&2; \
exit 1
endef

demo: setup ## Start the service, load the sample documents, ask a question; Ctrl-C stops it
	@$(BIN)/undercroft demo

test: setup-dev ## Run every test, in random order
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup $(TRACED)

# To be traced takes Python 3.11 three quarters more time, so it is not in every run.
coverage: TRACED = --cov --cov-report term
coverage: test ## The same with branch coverage, of every process that a test starts too (twice as long)

test-long: setup-dev ## Kill the service at random moments, hold random histories against the model, flip grants, kill streams, send random requests (an hour)
	UNDERCROFT_TEST_CRASH_SEEDS=20 $(BIN)/python -m pytest tests/e2e/test_crash.py
	UNDERCROFT_TEST_SHARING_HISTORIES=150 UNDERCROFT_TEST_SHARING_SEEDS=40 $(BIN)/python -m pytest \
		--timeout 1800 tests/sharing/test_model.py tests/sharing/test_concurrent_histories.py
	UNDERCROFT_TEST_REVOCATION_CALLS=10000 $(BIN)/python -m pytest --log-cli-level info \
		tests/e2e/test_revocation_race.py
	UNDERCROFT_TEST_CHAOS_STREAMS=200 UNDERCROFT_TEST_CHAOS_SECONDS=120 $(BIN)/python -m pytest --timeout 1800 \
		tests/e2e/test_chaos.py
	UNDERCROFT_TEST_SCHEMATHESIS_EXAMPLES=30 $(BIN)/python -m pytest tests/e2e/test_schemathesis.py

test-large: setup-dev ## Hold the plans of searches in the library of .bench/1000000 that bench-large has written
	UNDERCROFT_TEST_LIBRARY=$${UNDERCROFT_TEST_LIBRARY:-.bench/1000000} $(BIN)/python -m pytest -n0 -k large \
		tests/retrieval/search/test_plans.py

check: check-style check-types check-imports check-sql check-locks ## Lint, types, import contracts, SQL style, locks

check-style: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: setup-dev
	$(BIN)/basedpyright

check-imports: setup-dev
	$(BIN)/lint-imports

check-sql: setup-dev
	$(BIN)/sqlfluff lint migrations src

check-locks: setup-dev
	$(BIN)/python tools/lock.py --check

format: setup-dev ## Rewrite Python sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup-dev ## Resolve the locks again after a change of dependencies (UPGRADE=1: take the newest)
	$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

bench: setup-dev ## Run the benchmarks; results are written beside them
	@set -e; for file in benchmarks/bench_*.py; do echo "==> $$file"; PYTHONPATH=. $(BIN)/python "$$file"; done

bench-large: setup-dev ## Measure search in 100,000 and in 1,000,000 passages, written below .bench and kept there (hours)
	for passages in 100000 1000000; do PYTHONPATH=. $(BIN)/python benchmarks/bench_sizes.py \
		--passages $$passages --data-dir .bench/$$passages || exit 1; done

clean: ## Remove the environment and every cache; never the data of .undercroft
	rm -rf .venv build dist .coverage .coverage.* htmlcov .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
