# Two commands: `make serve` runs the example site, `make test` checks everything that needs no root.
# Needs Python 3.11 or newer with `venv`, make, and a package index; all else is installed into .venv.

PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
SITE := examples/django_site

.PHONY: serve test clean

serve: $(VENV)/serve.stamp
	cd $(SITE) && $(BIN)/python manage.py prepare
	cd $(SITE) && export PATH="$(BIN):$$PATH" && \
	exec spawn --factory=spawning.django_factory.config_factory settings --port 9090 -s 4 -t 100

test: $(VENV)/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) $(SITE)/data .mypy_cache .ruff_cache .pytest_cache

# pip reads dependency groups from version 25.1 on, newer than what `venv` brings along.
$(VENV)/venv.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Spawning needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	touch $@

# serve.stamp and test.stamp: the package, editable, and the dependency group of that name.
$(VENV)/%.stamp: $(VENV)/venv.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --editable . --group $*
	touch $@
