# Two commands: `make demo` and `make test`. Both make a virtual environment first and install into it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test prove check clients peers example clean help

help:
	@echo "make demo   install, then run the shipped example end to end (report: demo/report.html)"
	@echo "make test   install what tests need and run them"
	@echo "make prove  the long proofs: all 10,000 mutated inputs and more; goes on where it was stopped"
	@echo "make peers  LlamaIndex and LangChain with Chroma in an environment of their own, for groundtune bench index and query"
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

# LangChain and LlamaIndex for the test that points them at the server, in an environment of their own: LlamaIndex wants another
# version of openai. Ours stands behind it, for torch, which LlamaIndex' finetuning imports. Where they cannot be had, the test skips.
CLIENTS := $(VENV)/clients
$(CLIENTS)/installed: $(VENV)/dev
	@echo "installing LangChain and LlamaIndex ..."
	-@$(BIN)/python -m venv $(CLIENTS) && \
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$($(CLIENTS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz_groundtune.pth" && \
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check 'langchain-openai>=1.7,<2' \
	  'llama-index-core>=0.14,<0.15' 'llama-index-llms-openai>=0.6,<0.9' 'llama-index-embeddings-openai>=0.5,<0.8' 'llama-index-finetuning==0.4.2' 'mistralai<2' \
	  && touch $@ || rm -rf $(CLIENTS)

clients: $(CLIENTS)/installed

# LlamaIndex and LangChain with Chroma, for `groundtune bench index` and `bench query`; ours stands behind them for torch.
PEERS := $(VENV)/peers
$(PEERS)/installed: $(VENV)/base
	@echo "installing LlamaIndex, LangChain and Chroma ..."
	@$(BIN)/python -m venv $(PEERS)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$($(PEERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz_groundtune.pth"
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check 'chromadb>=1.5,<2' 'llama-index-core>=0.14,<0.15' \
	  'llama-index-vector-stores-chroma>=0.6,<0.7' 'llama-index-embeddings-huggingface>=0.8,<0.9' 'langchain-chroma>=1.1,<2' 'langchain-huggingface>=1.2,<2'
	@touch $@

peers: $(PEERS)/installed

demo: $(VENV)/base
	$(BIN)/groundtune demo demo

test: $(VENV)/dev $(OPENAI) clients
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

prove: $(VENV)/dev $(OPENAI) clients
	GROUNDTUNE_FUZZ=10000 GROUNDTUNE_PROVE=1 $(BIN)/python -m pytest -s -m slow

check: $(VENV)/dev
	$(BIN)/ruff check src tests tools
	$(BIN)/ruff format --check src tests tools
	$(BIN)/mypy
	$(BIN)/python tools/example/build.py

clean:
	rm -rf $(VENV) demo
