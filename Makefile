# make run    set up whatever is missing, and serve in development mode on http://127.0.0.1:5000
# make dev    the same, restarted whenever code, a template or a static file changes
# make test   install what the tests run for real, and run all of them
# make test-cluster   faults of a PostgreSQL and Redis with failover under load, in 6 minutes; writes dist/cluster.md
# make test-matrix   a quick part of them with every Python and SQLAlchemy that a host may have
# make lint   style of code, templates, styles and script; types; and which module may import which
# make messages   add texts that are new in the code to the translations, and remove those that are gone
# make bench  how fast the token endpoint is; ARGUMENTS='--million' and others: benchmarks/README.md
# make screenshots   the README's images, and every screen in dist/screens
# make dist   the wheel that a host installs, dist/identity_clients-<version>-py3-none-any.whl
# make sbom   the software bill of materials, dist/sbom.cdx.json
# make audit  known weaknesses of the locked dependencies; asks an advisory service
# make lock   renew the locked dependencies

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
COMPILE := $(BIN)/uv pip compile pyproject.toml --extra standalone --universal --python-version 3.11 \
	--generate-hashes --upgrade --quiet --custom-compile-command "make lock"

.PHONY: run dev test test-cluster test-matrix lint messages bench screenshots dist sbom audit lock
.DELETE_ON_ERROR:

run: $(VENV)/.installed
	@IDENTITY_CLIENTS_DEVELOPMENT=true exec $(BIN)/python -m webapp.standalone

dev: $(VENV)/.installed-dev
	@IDENTITY_CLIENTS_DEVELOPMENT=true exec $(BIN)/watchfiles "$(BIN)/python -m webapp.standalone" webapp templates static

test:
	@.ci/components
	@$(MAKE) --no-print-directory $(VENV)/.installed-dev $(VENV)/node/.installed
	$(BIN)/python -m pytest -n 3

test-cluster: $(VENV)/.installed-dev
	@.ci/components cluster
	$(BIN)/python -m pytest -v -rs --durations=0 tests/cluster $(ARGUMENTS)

test-matrix: $(VENV)/node/.installed | $(BIN)/python
	@.ci/components
	@$(BIN)/python .ci/matrix.py $(ARGUMENTS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djangofmt --check templates
	$(BIN)/djangofmt check templates
	$(BIN)/oxfmt --check static
	$(BIN)/oxlint static
	$(BIN)/mypy
	$(BIN)/lint-imports

messages: $(VENV)/.installed-dev
	@mkdir -p dist
	@$(BIN)/pybabel -q extract -F pyproject.toml -c Translators: -k "ic_gettext ic_ngettext:1,2 lazy_gettext" \
		--sort-output --no-location --no-wrap -o dist/identity_clients.pot webapp templates
	@$(BIN)/pybabel -q update -D identity_clients -i dist/identity_clients.pot -d webapp/translations \
		--no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --no-wrap
	@echo "Translate what has no text yet: grep -B2 -n '^msgstr.*\"\"$$' webapp/translations/*/LC_MESSAGES/*.po"

screenshots: $(VENV)/.installed-dev
	@.ci/components
	$(BIN)/python -m tests.browser.screenshots docs/images
	@mkdir -p dist/screens
	SCREENSHOTS=dist/screens $(BIN)/python -m pytest -n 2 tests/browser/test_accessibility.py tests/browser/test_rotation.py

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.token_endpoint $(ARGUMENTS)

dist: $(VENV)/.installed-dev
	@$(BIN)/hatchling build -t wheel -d dist

sbom: $(VENV)/.installed-dev
	@mkdir -p dist
	@PYTHONWARNINGS=ignore $(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible -o dist/sbom.cdx.json

audit: $(VENV)/.installed-dev
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements.lock
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements-dev.lock

lock: $(VENV)/.installed-dev
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --group dev --constraint requirements.lock --output-file requirements-dev.lock
	$(BIN)/uv pip compile .ci/oldest.in --no-deps --universal --python-version 3.11 --generate-hashes --upgrade --quiet \
		--custom-compile-command "make lock" --output-file .ci/oldest.lock

$(BIN)/python:
	@.ci/venv $(VENV)

$(VENV)/.installed: requirements.lock | $(BIN)/python
	@echo "Installing the locked dependencies into $(VENV) ..."
	@$(PIP_INSTALL) -r requirements.lock
	@touch $@

$(VENV)/node/.installed: tests/oauth/node/package-lock.json tests/oauth/node/package.json | $(BIN)/python
	@if command -v npm >/dev/null; then \
		mkdir -p $(@D) && cp $^ $(@D) && cd $(@D) && npm ci --silent --ignore-scripts --no-audit --no-fund && touch .installed; \
	else echo "Node.js is not installed: the tests leave the client in JavaScript out."; fi

$(VENV)/.installed-dev: requirements-dev.lock | $(BIN)/python
	@echo "Installing the locked dependencies and tools into $(VENV) ..."
	@$(PIP_INSTALL) -r requirements-dev.lock
	@touch $@
