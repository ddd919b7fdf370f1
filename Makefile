# Everything from nothing but python3 and make.
PYTHON ?= python3
# Which extras of pyproject.toml are installed; continuous integration takes more.
EXTRAS ?= dev
BIN := .venv/bin
PIP := python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: demo test test-lowest lint docs install clean

demo: install
	$(BIN)/smash demo

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q

# The same tests with the oldest versions that pyproject.toml allows. uv chooses the versions, and
# pip installs them.
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/$(PIP) uv
	.venv-lowest/bin/uv pip compile --quiet --resolution lowest-direct --extra dev \
		--no-emit-package smash-nas --output-file .venv-lowest/lowest.txt pyproject.toml
	.venv-lowest/bin/$(PIP) --requirement .venv-lowest/lowest.txt --editable .
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n 2 --dist worksteal -q

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The site, in build/site, without --quiet, which silences what --strict counts. No link may be broken, and no page may load anything from elsewhere.
docs: .venv/docs-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	! grep -rE '<(script|link|img)[^>]*="?(https?:)?//' build/site --include='*.html'

install: .venv/installed

# pip would compile all of torch, which takes a minute. Python compiles what it imports: here what
# most commands need, so that no two processes do the same.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/$(PIP) --editable '.[$(EXTRAS)]'
	$(BIN)/python -m benchmarks.preloaded
	touch $@

.venv/docs-installed: .venv/installed
	$(BIN)/$(PIP) --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv .venv-lowest build
