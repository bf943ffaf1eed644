# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO ?= runs/demo

# An interpreter that already has a torch in range keeps it; otherwise the tested pair is installed.
HAS_TORCH = import torch; v = tuple(map(int, torch.__version__.split("+")[0].split(".")[:2])); \
	raise SystemExit(not ((2, 11) <= v < (3, 0) and v != (2, 13)))

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint clean

help:
	@echo "make setup   a .venv with the changecap command"
	@echo "make demo    train, score and caption on the embedded data (6 minutes on 2 cores)"
	@echo "make test    run the tests"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make clean   remove .venv and what the tools cached"

setup: $(READY)

$(READY): setup.cfg pyproject.toml constraints.txt constraints-torch.txt
	@echo "setting up .venv (about 100 s the first time)"
	@rm -rf .venv
	@if $(PYTHON) -c '$(HAS_TORCH)' 2>/dev/null; then \
		echo "using the torch that $(PYTHON) already has"; \
		$(PYTHON) -m venv --system-site-packages .venv && grep -v '^numpy==' constraints.txt > .venv/constraints.txt; \
	else \
		$(PYTHON) -m venv .venv && cat constraints.txt constraints-torch.txt > .venv/constraints.txt; \
	fi
	@if command -v uv >/dev/null 2>&1; then \
		VIRTUAL_ENV=.venv uv pip install -q -c .venv/constraints.txt -e '.[dev]'; \
	else \
		$(BIN)/python -m pip install -q --disable-pip-version-check -c .venv/constraints.txt -e '.[dev]'; \
	fi
	@touch $@

# A run is made anew each time; the simulated data set is kept in data/synth.
demo: $(READY)
	@rm -rf $(DEMO)
	$(BIN)/changecap train experiment=demo out=$(DEMO)
	$(BIN)/changecap evaluate checkpoint=$(DEMO)
	@pair=data/synth/test && name=$$(ls $$pair/rgb/A | head -n 1) && echo && echo "one pair, $$name:" && \
		$(BIN)/changecap caption checkpoint=$(DEMO) a=$$pair/rgb/A/$$name b=$$pair/rgb/B/$$name \
			sem_a=$$pair/sem/A/$$name sem_b=$$pair/sem/B/$$name

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not compiler" -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
