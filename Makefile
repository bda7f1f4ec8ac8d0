# Two commands do everything on a fresh machine with Python 3.11 or newer, pip and make:
#   make demo    make test
# `make` alone lists the rest. PYTHON chooses the interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.sciexplain-installed
PEERS  := $(VENV)/.peers-installed
TORCH  := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)

# Where notebooks, studies and the demo leave what they make.
REPORTS ?= reports

# Several test processes, one thread each, are faster than one process with many threads.
TEST_ARGS ?= -n auto --maxprocesses 4
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

export MPLBACKEND = Agg
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# Recordings that no package carries, where a folder beside the checkout has them.
ifndef SCIEXPLAIN_DATA_MIRROR
ifneq ($(wildcard ../shared/data),)
export SCIEXPLAIN_DATA_MIRROR := $(abspath ../shared/data)
endif
endif

.DEFAULT_GOAL := help
.PHONY: help venv peers demo test lint format types notebooks studies gallery fuzz bench wheel constraints clean distclean

help:  ## list these targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-20s%s\n", $$1, $$2}'

venv: $(STAMP)  ## create .venv and install the package with its tools

# A stamp that is newer than both files means that nothing has to be installed again.
$(STAMP): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "No '$(PYTHON)' here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "sciexplain needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1)." \
	       "Name a newer one: make PYTHON=python3.11 ..." >&2; exit 1; }
	@# Debian's python3 has venv but not always ensurepip; then the interpreter's own pip fills the environment.
	@test -x "$(BIN)/python" && "$(BIN)/python" -m pip --version >/dev/null 2>&1 \
	  || "$(PYTHON)" -m venv "$(VENV)" >/dev/null 2>&1 \
	  || { "$(PYTHON)" -m venv --clear --without-pip "$(VENV)" \
	       && "$(PYTHON)" -m pip --python "$(BIN)/python" install --quiet pip; } \
	  || { echo "Could not create $(VENV) with '$(PYTHON)' (is python3-venv or pip missing?)." >&2; exit 1; }
	@"$(BIN)/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(VENV) was made with an older Python; 'make distclean' removes it." >&2; exit 1; }
	@echo "Installing into $(VENV): 1 of 2, $(TORCH) (the largest part) ..."
	@"$(BIN)/python" -m pip install --quiet --constraint constraints.txt hatchling editables "$(TORCH)"
	@echo "Installing into $(VENV): 2 of 2, sciexplain and the packages in pyproject.toml ..."
	@"$(BIN)/python" -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch "$@"

peers: $(PEERS)  ## add zennit, captum and Quantus, with which tests and benchmarks compare

# Without their dependencies: zennit asks for torchvision, Quantus for OpenCV, which are replaced where it matters.
$(PEERS): $(STAMP)
	@echo "Installing into $(VENV): zennit, captum and Quantus, to compare with ..."
	@"$(BIN)/python" -m pip install --quiet --no-deps --constraint constraints.txt zennit captum quantus
	@touch "$@"

demo: $(STAMP)  ## explain EEG decoders end to end and print the path of the report
	$(ONE_THREAD) "$(BIN)/python" -m sciexplain.demo --output "$(REPORTS)/demo"

test: $(PEERS)  ## run every test (TEST_ARGS="-k pool -x" chooses)
	$(ONE_THREAD) "$(BIN)/python" -m pytest $(TEST_ARGS)

lint: $(STAMP)  ## ruff: rules and format
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .

format: $(STAMP)  ## let ruff mend what it can
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

types: $(STAMP)  ## mypy on the package
	"$(BIN)/mypy"

notebooks: $(STAMP)  ## run each case study as a notebook, in its short form
	"$(BIN)/python" case_studies/run_notebooks.py --form short --output "$(REPORTS)/notebooks"

studies: $(STAMP)  ## run each case study as a notebook, in its long form
	"$(BIN)/python" case_studies/run_notebooks.py --form long --output "$(REPORTS)/studies"

gallery: $(STAMP)  ## run the example behind each page of docs: its numbers and pictures
	$(ONE_THREAD) "$(BIN)/python" docs/run_examples.py --output "$(REPORTS)/examples"

fuzz: $(STAMP)  ## 1,000 drawn networks against the slow reference
	SCIEXPLAIN_FUZZ=1000 OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest tests/lrp/test_random_networks.py

bench: $(PEERS)  ## speed and memory beside peers (BENCH_ARGS="--quick"), and how exactly relevance adds up
	"$(BIN)/python" benchmarks/core.py $(BENCH_ARGS)
	"$(BIN)/python" benchmarks/bench_conservation.py
	"$(BIN)/python" benchmarks/selectivity.py

wheel: $(STAMP)  ## build dist/*.whl
	rm -rf dist
	"$(BIN)/python" -m build --wheel --no-isolation --outdir dist .

constraints:  ## resolve pyproject's ranges anew and rewrite constraints.txt (keeps torch's pin)
	@scratch="$$(mktemp -d)"; trap 'rm -rf "$$scratch"' EXIT; \
	"$(PYTHON)" -m venv "$$scratch/venv" \
	&& "$$scratch/venv/bin/python" -m pip install --quiet "$(TORCH)" hatchling editables '.[dev]' \
	&& "$$scratch/venv/bin/python" -m pip install --quiet --no-deps zennit captum quantus \
	&& { sed -n '/^#/p' constraints.txt; \
	     "$$scratch/venv/bin/python" -m pip list --format=freeze | grep -v -E '^(pip|sciexplain)==' \
	       | sed 's/+[a-z0-9.]*$$//' | tr 'A-Z_' 'a-z-' | LC_ALL=C sort; } > constraints.txt.new \
	&& mv constraints.txt.new constraints.txt

clean:  ## remove what the other targets made, except the environment
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis "$(REPORTS)"
	find sciexplain tests case_studies benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove the environment too
	rm -rf "$(VENV)"
