# Every target makes what it needs; two are enough to begin with: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv/bin
environment = $(PYTHON) scripts/environment.py
# More workers than most machines of CI have cores: real restic waits 0.2 s for every lock. Each worker keeps to neighbouring tests,
# which share what they are made on, until another has nothing left.
PYTEST_FLAGS ?= -n 4 --dist worksteal
# What also has to hold where nothing is compiled: the twins of the native parts do the same work.
TWINS := tests/repository tests/backup/test_backup.py tests/restore/test_attributes.py \
	tests/restore/test_faults.py tests/check/test_check_packs.py
# What also has to hold where native parts are used, except the one that calls libcrypto and libzstd: what seals and opens.
BINDINGS := tests/repository/test_repository.py tests/repository/test_fast_paths.py tests/backup/test_backup.py \
	tests/backup/test_command.py tests/backup/test_stream.py tests/backup/test_tree_ids.py \
	tests/restore/test_command.py tests/restore/test_overwrite.py tests/restore/test_places.py \
	tests/check/test_check_packs.py tests/check/test_check_trees.py
SOURCES := restic_format spec/restic_spec tools/restic_tools conformance/restic_conformance

# The program as somebody installs it, and what measures it.
installed = { test -d build/installed || $(VENV)/python -m venv build/installed; } && \
	RESTIC_FORMAT_KERNEL=require build/installed/bin/pip install -q --force-reinstall --no-deps . && build/installed/bin/pip install -q .
bench = PYTHONPATH=scripts $(VENV)/python -m bench --program build/installed/bin/restic-format --output docs

.DEFAULT_GOAL := help
.PHONY: help install demo test long kills lint format docs pictures compatibility peers conformance zoo bench native sanitize fuzz parts profile dist clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

install: ## make .venv with the command restic-format in it
	@$(environment)

demo: ## back up a real directory tree, check it, restore it, compare everything
	@$(environment) demo
	@$(VENV)/python scripts/demo.py

test: ## install what the tests need, the real programs included, and run the tests
	@$(environment) --kernel require test
	@$(VENV)/python -m restic_conformance.peers --dest .peers
	RESTIC_FORMAT_KERNEL=off $(VENV)/python -m pytest $(PYTEST_FLAGS) -m "not long" $(TWINS)
	RESTIC_FORMAT_KERNEL=wheels $(VENV)/python -m pytest $(PYTEST_FLAGS) -m "not long" $(BINDINGS)
	$(VENV)/python -m pytest $(PYTEST_FLAGS) -m "not long"

long: ## more seeds and moments of what `make test` tries with a few
	@$(environment) --kernel require test
	@$(VENV)/python -m restic_conformance.peers --dest .peers --azure --keystone
	$(VENV)/python -m pytest $(PYTEST_FLAGS) -m long --timeout 3600

kills: ## stop every command that keeps a repository at 60 random moments and at every failing call (the tests do some of it)
	@$(environment) --kernel require test
	@$(VENV)/python -m restic_conformance.peers --dest .peers --rustic
	RESTIC_FORMAT_KILLS=60 $(VENV)/python -m pytest $(PYTEST_FLAGS) -rP --timeout 3600 tests/fire

lint: ## ruff, mypy strict, who may import whom
	@$(environment) lint
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	MYPYPATH=scripts $(VENV)/mypy scripts
	PYTHONPATH=.:spec:tools:conformance $(VENV)/lint-imports

format: ## let ruff put the source in order
	@$(environment) lint
	$(VENV)/ruff check --fix-only .
	$(VENV)/ruff format .

docs: ## build the documentation into site/ (strict)
	@$(environment) docs
	$(VENV)/mkdocs build --strict

pictures: ## make the pictures of terminals in the documentation
	@$(environment) explore
	$(VENV)/python scripts/pictures.py

compatibility: ## compare the help of real restic with ours, command by command; the table into docs
	@$(environment)
	@$(VENV)/python -m restic_conformance.peers --dest .peers
	$(VENV)/python scripts/compatibility.py

peers: ## fetch the real programs to compare with into .peers/
	@$(environment)
	@$(VENV)/python -m restic_conformance.peers --dest .peers

conformance: ## every scenario and location, writer and reader against each other; a matrix in reports/ (CONFORMANCE_FLAGS="--only location")
	@$(environment) test
	@$(VENV)/python -m restic_conformance.peers --dest .peers
	$(VENV)/python -m tests.servers -- $(VENV)/python -m restic_conformance --full --locations {} --report-dir reports $(CONFORMANCE_FLAGS)

zoo: ## damage a repository in every way, let programs repair it; a table into docs (ZOO_FLAGS="--only header")
	@$(environment) --kernel require test
	@$(VENV)/python -m restic_conformance.peers --dest .peers
	RESTIC_FORMAT_ZOO=all $(VENV)/python -m pytest $(PYTEST_FLAGS) tests/rescue/test_diagnosis_zoo.py
	$(VENV)/python -m restic_conformance.zoo --output docs $(ZOO_FLAGS)

bench: ## our program against real restic as whole processes; tables and plot into docs (BENCH_FLAGS=--quick: minutes)
	@$(environment) --kernel require bench
	@$(VENV)/python -m restic_conformance.peers --dest .peers
	@$(installed)
	$(bench) --disk build $(BENCH_FLAGS)
	$(bench) --leave-one-out $(BENCH_FLAGS)

native: ## the speed of the native parts, beside what the libraries can do alone
	@$(environment) --kernel require
	@$(VENV)/python scripts/bench_chunker.py
	@$(VENV)/python scripts/bench_native.py

sanitize: ## tests of the native parts under address and undefined-behaviour sanitizers
	@$(environment) --kernel require test
	@$(VENV)/python -m restic_conformance.peers --dest .peers
	$(VENV)/python scripts/sanitize.py

fuzz: ## the parsers in C and whole commands on inputs near the right form, for long (FUZZ_FLAGS="--seconds 3600 tree")
	@$(environment) --kernel require test
	$(VENV)/python -m tests.fuzz $(FUZZ_FLAGS)

parts: ## what each native part buys: our program without each in turn; a table into docs
	@$(environment) --kernel require bench
	@$(installed)
	$(bench) --leave-one-out $(BENCH_FLAGS)

profile: ## where time goes: make profile WHAT="-r repo backup folder"; a flame graph in reports/profile.svg
	@$(environment) --kernel require bench
	@mkdir -p reports
	$(VENV)/py-spy record --native --threads --rate 500 --output reports/profile.svg -- $(VENV)/python -m restic_tools $(WHAT)

dist: ## build the sdist and a wheel into dist/
	@$(environment) --kernel require test
	$(VENV)/python -c 'from setuptools import build_meta as b; b.build_sdist("dist")'
	RESTIC_FORMAT_KERNEL=require $(VENV)/python -c 'from setuptools import build_meta as b; b.build_wheel("dist")'

clean: ## remove what was built or fetched, except .venv and .peers
	rm -rf build dist site reports *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(SOURCES) tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
