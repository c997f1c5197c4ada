# make demo: the whole journey on this machine.
# make test: format, lint, types, import order and the quick tests, in minutes; for every commit.
# make test-integration: commands, servers, browser, packaging, faults.   make test-all: both.   make test-slow: the rest.
# make bench: speed against the usual ways.   make bench-growth: growth of the cost.
# make bench-methods: the methods of the paper and more, on its data sets (hours); it goes on where it stopped.
# make chaos: faults and what they cost, twenty runs whose processes are killed (half an hour).
# make bench-trust: intervals, domain, shortlists, and what they cost.
# make bench-autoscaling: nodes over time under a screen.
# Each makes the virtual environment it needs first; PYTHON names the interpreter to make it with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-integration test-all test-slow chaos lint types rooms unit bench bench-growth bench-cif bench-methods bench-trust bench-autoscaling \
	data format setup clean

demo: setup
	$(BIN)/emrl-ray demo --out demo-run

test: lint types rooms unit

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell

types: setup
	$(BIN)/mypy

rooms: setup
	$(BIN)/lint-imports

# Each test has a limit of its own time; no suite has one.
PYTEST := RAY_AUTH_MODE=disabled $(BIN)/python -m pytest
TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder
JOURNEY := tests/integration/test_journey.py

unit: setup
	$(PYTEST) $(TWO) tests/unit tests/properties tests/packaging $(JOURNEY)

test-integration: setup
	$(PYTEST) $(TWO) tests/integration tests/faults --ignore $(JOURNEY)

test-all: test test-integration

test-slow: setup
	$(PYTEST) -m slow
	EMRL_RAY_EXAMPLES=10 $(PYTEST) tests/unit tests/properties -m hypothesis

FAULTS := benchmarks/results/faults.jsonl

chaos: setup
	rm -f $(FAULTS)
	EMRL_RAY_FIGURES=$(FAULTS) $(PYTEST) -m "" \
		tests/faults/test_screen_faults.py tests/faults/test_train_faults.py tests/faults/test_chaos.py

data:
	@test -d "$(EMRL_RAY_DATA)/data" || \
		{ echo "EMRL_RAY_DATA ($(EMRL_RAY_DATA)): set it to a folder that holds data/ and reference/"; exit 1; }

# All need EMRL_RAY_DATA, and those that time a machine with nothing else to do.
bench: data setup
	$(BIN)/python -m benchmarks.speed.run
	$(BIN)/python -m benchmarks.speed.page

bench-growth: data setup
	$(BIN)/python -m benchmarks.growth.run
	$(BIN)/python -m benchmarks.speed.page

METHODS := methods-hoip methods-mps methods-mpb methods-mpl out-of-fold transfer-mps transfer-mpl

bench-methods: data setup
	for name in $(METHODS); do $(BIN)/emrl-ray benchmark --config benchmarks/configs/$$name.yaml || exit 1; done

TRUSTED := runs/trust

bench-trust: data setup
	$(BIN)/python -m benchmarks.trust.coverage --data $(EMRL_RAY_DATA)/data --models $(TRUSTED)/models
	$(BIN)/python -m benchmarks.trust.domain --data $(EMRL_RAY_DATA)/data --models $(TRUSTED)/models
	$(BIN)/python -m benchmarks.trust.shortlist --data $(EMRL_RAY_DATA)/data --work $(TRUSTED)/shortlist
	$(BIN)/python -m benchmarks.trust.cost --data $(EMRL_RAY_DATA)/data --model $(TRUSTED)/models/MPS-FE-0 --out $(TRUSTED)/cost
	$(BIN)/python -m benchmarks.trust.page

# What the reader of CIFs is worth: its speed beside pymatgen's, and changed CIFs.
bench-cif: data setup
	$(BIN)/python -m benchmarks.speed.cif_speed
	$(BIN)/python -m benchmarks.faults.fuzz_cif

bench-autoscaling: setup
	$(BIN)/python -m benchmarks.scaling.autoscaling

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(READY)

# The stamp is younger than what the environment was made from, or it is brought up to date.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON): Python 3.11 or later is needed; name one with make PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "$(PYTHON) -m venv failed: install Python's venv module"; exit 1; }
	@echo "Installing into $(VENV); the first time takes some minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[ase,delta,dev,mp,report,tune]'
	@touch $@

clean:
	rm -rf $(VENV) demo-run build *.egg-info
