# The product's front door: `make demo` and `make test` install what is missing and run.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A plain `torch` may bring gigabytes of CUDA; this one version is a CPU build on many indexes.
TORCH ?= torch==2.13.0
EXAMPLE ?= tabletop

.PHONY: demo test test-robot test-peers check mutate install train clean

demo: install
	@$(BIN)/wall-edge demo $(ARGS)

test: install
	$(BIN)/pytest -n 4 $(ARGS)

# The wheel on a robot's Python, without torch: `make test-robot PYTHON=python3.10`.
test-robot: install
	VENV=$(VENV) .ci/test-robot $(PYTHON) $(ARGS)

# Programs of others (LeRobot's servo bus, Feetech's SDK) on the simulated servos, in an environment of their own.
test-peers: .venv-peers/.installed
	PYTHONPATH=.:firmware_bridge .venv-peers/bin/pytest --confcutdir tests/peers tests/peers $(ARGS)

.venv-peers/.installed: tests/peers/requirements.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Whether the tests notice faults in the modules between a policy and the motors; five minutes on two cores.
mutate: install
	$(BIN)/python benchmarks/mutation.py $(ARGS)

# A shipped policy again, from its seed: under an hour on two cores. `make train EXAMPLE=two_handed`
train: install
	$(BIN)/python examples/$(EXAMPLE)/train.py --out examples/$(EXAMPLE)/checkpoint

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[onnxruntime,export,report,dev]"
	touch $@

clean:
	rm -rf $(VENV) .venv-peers .venv-robot .venv-robot-* runs
