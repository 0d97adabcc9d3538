# Two commands: `make demo` and `make test`. Both make a virtual environment first and install into it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test prove check example clean help

help:
	@echo "make demo   install, then run the shipped example end to end (report: demo/report.html)"
	@echo "make test   install what tests need and run them"
	@echo "make prove  the long proofs: all 10,000 mutated inputs and more; goes on where it was stopped"
	@echo "make check  ruff, mypy --strict, example rebuilt and checked"

# torch first and alone: where the package index has a CPU build of this version, or PyTorch's own CPU index is reached,
# gigabytes of CUDA stay away; otherwise the ordinary build is taken.
$(VENV)/torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "groundtune needs Python 3.11 or newer; say `make PYTHON=python3.12 ...`")'
	@$(PYTHON) -m venv $(VENV)
	@echo "installing torch (CPU build where there is one) ..."
	@$(BIN)/python tools/install_torch.py
	@touch $@

$(VENV)/base: $(VENV)/torch pyproject.toml
	@echo "installing groundtune ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/dev: $(VENV)/base
	@echo "installing what tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# openai-python's own tests, which its source distribution carries; where it cannot be had, the test that runs them skips
OPENAI := $(VENV)/openai-3.52.0
$(OPENAI): $(VENV)/dev
	-@$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: -d $(VENV) openai==3.52.0
	-@tar xzf $(OPENAI).tar.gz -C $(VENV)

demo: $(VENV)/base
	$(BIN)/groundtune demo demo

test: $(VENV)/dev $(OPENAI)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

prove: $(VENV)/dev $(OPENAI)
	GROUNDTUNE_FUZZ=10000 GROUNDTUNE_PROVE=1 $(BIN)/python -m pytest -s -m slow

check: $(VENV)/dev
	$(BIN)/ruff check src tests tools
	$(BIN)/ruff format --check src tests tools
	$(BIN)/mypy
	$(BIN)/python tools/example/build.py

clean:
	rm -rf $(VENV) demo
