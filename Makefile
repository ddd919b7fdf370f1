# Everything from nothing but python3 and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint docs install clean

demo: install
	$(BIN)/smash demo

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in build/site. No link may be broken, and no page may load anything from elsewhere.
docs: .venv/docs-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	! grep -rE '<(script|link|img)[^>]*="?(https?:)?//' build/site --include='*.html'

install: .venv/installed

# Not compiled: Python does that for what it imports, and pip for all of torch, which takes a minute.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[dev]'
	touch $@

.venv/docs-installed: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[docs]'
	touch $@

clean:
	rm -rf .venv build
