# `make serve` runs the example site, `make test` checks everything that needs no root, `make bench` compares servers,
# `make coverage` says what the tests have executed, `make fuzz` searches for requests and responses that break the rules,
# `make soak` is hostile to a server for minutes, `make autobahn` tries WebSockets with Autobahn's cases,
# `make deploy-test` deploys it with the real thing (as root), `make applications-test` serves large programs,
# `make package-test` builds and tries the package, `make docs` makes a site of the documentation.
# Needs Python 3.11 or newer with `venv`, make, and a package index; all else is installed into .venv.

PYTHON ?= python3
# A path with a space in it is no target of make's.
VENV := $(if $(filter 1,$(words $(CURDIR))),$(CURDIR)/).venv
BIN := $(VENV)/bin
SITE := examples/django_site
BENCH_VENV := bench/.venv
BENCH ?=
FUZZ_VENV := fuzz/.venv
FUZZ_SECONDS ?= 300
PYTHON2 ?= python2.7
COVERAGE ?=
# Two a core: most tests wait, for a server or a client.
TEST_PROCESSES ?= $(shell expr 2 \* $$(nproc))
DEPLOY ?= tests/deploy
APPLICATIONS ?= tests/applications

.PHONY: serve test deploy-test applications-test docs package-test coverage bench fuzz soak autobahn settings clean

serve: $(VENV)/serve.stamp
	export PATH="$(CURDIR)/.venv/bin:$$PATH" && cd $(SITE) && python manage.py prepare && \
	exec spawn --factory=spawning.django_factory.config_factory settings --port 9090 -s 4 -t 100

test: $(VENV)/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@echo "The tests take a quarter of an hour on two cores, and twice as long beside other work."
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal

# Containers, machines in network namespaces, proxies, systemd: as root on Debian. A program that is missing fails its
# tests with the name of its package. DEPLOY holds what to run instead of everything.
deploy-test: $(VENV)/deploy.stamp
	@echo "This takes some minutes, and more at the first time, which makes a base system."
	$(BIN)/python -m pytest -o faulthandler_timeout=900 $(DEPLOY)

# Mercurial, pypiserver, Radicale, Wagtail, a big admin of Django, Dash, each with its own clients and through reloads.
# APPLICATIONS holds what to run instead of everything.
applications-test: $(VENV)/applications.stamp
	@echo "This takes some minutes, and more at the first time, which installs them (450 MB)."
	$(BIN)/python -m pytest -o faulthandler_timeout=900 $(APPLICATIONS)

# The documentation as a site, in .site; needs no network. A link that leads nowhere, or a page that is not in the
# navigation, is an error.
docs: $(VENV)/test.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Build, install and use the package, on every supported Python that this machine has; RELEASE=1 also refuses what must not
# be released.
package-test: $(VENV)/test.stamp
	@echo "This takes some minutes, most of them for installing."
	$(BIN)/python -m release.check

# What is executed by the tests, and by the processes of the servers that they start. Takes twice as long as `make test`.
# COVERAGE holds what to run instead of everything, for example COVERAGE="tests/integration/test_reload.py".
coverage: $(VENV)/test.stamp
	@echo "This takes half an hour or more on two cores."
	rm -rf .coverage-data && mkdir -m 1777 .coverage-data  # some processes are another user
	$(BIN)/python -m coverage run -m pytest -n $(TEST_PROCESSES) --dist worksteal $(COVERAGE); \
	status=$$?; $(BIN)/python -m coverage combine --quiet; $(BIN)/python -m coverage report; exit $$status

# BENCH holds the options of `python -m bench`, for example BENCH="--servers spawning,granian --workloads b1".
bench: $(BENCH_VENV)/bench.stamp
	$(BENCH_VENV)/bin/python -m bench $(BENCH)

# Each target for FUZZ_SECONDS; fails at the first finding, which is in fuzz/.work/found then.
fuzz: $(FUZZ_VENV)/fuzz.stamp
	for target in reading environ forwarding announcing answering; do \
		$(FUZZ_VENV)/bin/python -m fuzz $$target -max_total_time=$(FUZZ_SECONDS) || exit; \
	done

soak: $(VENV)/test.stamp
	$(BIN)/python -m fuzz.soak

# Autobahn's own cases for WebSockets; its client needs Python 2.7, and half an hour.
autobahn: $(VENV)/test.stamp
	$(BIN)/python -m fuzz.autobahn --python2 $(PYTHON2)

# The tables of docs/settings.md and docs/from/ from the table of settings, those of docs/log-lines.md from the source; a
# test fails where that was forgotten.
settings: $(VENV)/test.stamp
	$(BIN)/python -m spawning.settings.page docs/settings.md
	$(BIN)/python -m spawning.elsewhere.page docs/from/*.md
	$(BIN)/python -m release.log_lines docs/log-lines.md

clean:
	rm -rf $(VENV) $(BENCH_VENV) bench/.work $(FUZZ_VENV) fuzz/.work tests/deploy/.work $(SITE)/data
	rm -rf .mypy_cache .ruff_cache .pytest_cache .coverage-data .site

# pip reads dependency groups from version 25.1 on, newer than what `venv` brings along.
$(VENV)/venv.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Spawning needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	touch $@

$(BENCH_VENV)/bench.stamp: bench/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m bench.install
	touch $@

$(FUZZ_VENV)/fuzz.stamp: fuzz/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(FUZZ_VENV)
	$(FUZZ_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable . -r fuzz/requirements.txt
	touch $@

# serve.stamp, test.stamp, deploy.stamp, applications.stamp: the package, editable, and the dependency group of that name.
$(VENV)/%.stamp: $(VENV)/venv.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --editable . --group $*
	touch $@
