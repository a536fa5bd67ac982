# make run     sets up what running needs and starts `shardns demo`
# make test    sets up everything and runs every gate; pytest's summary is the last line
# make help    the rest

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHON

.PHONY: help run test lint format types imports core test-core replay fuzz unit e2e image soak perf perf-quick perf-table upgrade clean

help:
	@printf '%s\n' \
	  'make run         set up, then shardns demo on 127.0.0.1:1053' \
	  'make test        set up, then every gate: lint, C tests, fuzz corpus, a short measurement, pytest' \
	  'make lint        ruff, mypy, import-linter' \
	  'make format      ruff format, and what ruff can mend' \
	  'make core        the C core, for Python' \
	  'make test-core   tests/core/test_*.c under ASan and UBSan, *_threads.c under TSan too' \
	  'make replay      every kept input through every fuzz target, without a fuzzer' \
	  'make fuzz        libFuzzer, FUZZ_SECONDS=$(FUZZ_SECONDS) per target (FUZZ=name for one)' \
	  'make unit        pytest without the end-to-end suite' \
	  'make e2e         the end-to-end suite only' \
	  'make image       the container image, by buildah without a registry (BASE_IMAGE=... builds on another base)' \
	  'make soak        the long run' \
	  'make perf        the performance suite; make perf-quick is its short form' \
	  'make perf-table  the table alone: instructions per find, how long hot names stay' \
	  'make upgrade     newest versions of everything, written to constraints.txt' \
	  'make clean       remove what was made'

# ------------------------------------------------------------------------------------------------------------- set-up

$(VENV)/.stamp-run: pyproject.toml setup.py constraints.txt tests/debian-packages.txt
	@tests/packages run
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "shardns needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Say which: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing shardns into $(VENV)'
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt setuptools cffi
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[fast]'
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-run
	@tests/packages test
	@echo 'installing the test tools into $(VENV)'
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[fast,dev]'
	@touch $@

upgrade: $(VENV)/.stamp-test
	$(BIN)/pip install -q --upgrade --no-build-isolation -e '.[fast,dev]'
	{ sed -n '/^#/p' constraints.txt; $(BIN)/pip freeze --all --exclude-editable --exclude pip; } >$(VENV)/constraints
	mv $(VENV)/constraints constraints.txt
	touch $(VENV)/.stamp-run $(VENV)/.stamp-test

clean:
	rm -rf build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f shardns/core/*.so shardns/core/*.o

# ---------------------------------------------------------------------------------------------------- the C core

CORE_C := $(filter-out shardns/core/_core.c,$(wildcard shardns/core/*.c))
CORE_H := $(wildcard shardns/core/*.h)
TEST_H := $(wildcard tests/core/*.h)
CORE_SO := shardns/core/_core.abi3.so

core: $(CORE_SO)

# --force: the build tool compares times of the .c files only, and a header is where the layout is.
$(CORE_SO): $(CORE_C) $(CORE_H) $(wildcard shardns/core/*.py) setup.py | $(VENV)/.stamp-run
	@echo 'building the C core'
	@$(BIN)/python setup.py -q build_ext --inplace --force
	@touch $@

# C tests are compiled apart from Python, with the sanitizers, from the same sources.
WARN := -std=c11 -Wall -Wextra -Werror
COMMON := $(WARN) -O1 -g -fno-omit-frame-pointer -Ishardns/core -Itests/core
ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all
# It knows no fences, and says so; ours order atomic words only, in which it sees no race.
TSAN := -fsanitize=thread -Wno-tsan

C_TESTS := $(patsubst tests/core/%.c,build/asan/%,$(wildcard tests/core/test_*.c)) \
           $(patsubst tests/core/%.c,build/tsan/%,$(wildcard tests/core/test_*_threads.c))
ASAN_CORE := $(CORE_C:shardns/core/%.c=build/asan/core/%.o)
TSAN_CORE := $(CORE_C:shardns/core/%.c=build/tsan/core/%.o)
.SECONDARY: $(ASAN_CORE) $(TSAN_CORE)  # else make takes them for temporary files, and compiles them each time

build/asan/core/%.o: shardns/core/%.c $(CORE_H)
	@mkdir -p $(@D)
	@gcc $(COMMON) $(ASAN) -c -o $@ $<

build/tsan/core/%.o: shardns/core/%.c $(CORE_H)
	@mkdir -p $(@D)
	@gcc $(COMMON) $(TSAN) -c -o $@ $<

build/asan/test_%: tests/core/test_%.c $(TEST_H) $(ASAN_CORE)
	@mkdir -p $(@D)
	@gcc $(COMMON) $(ASAN) -o $@ $< $(ASAN_CORE) -lpthread

build/tsan/test_%: tests/core/test_%.c $(TEST_H) $(TSAN_CORE)
	@mkdir -p $(@D)
	@gcc $(COMMON) $(TSAN) -o $@ $< $(TSAN_CORE) -lpthread

test-core: $(C_TESTS)
	@failed=0; for test in $(sort $(C_TESTS)); do \
	  echo "-- $$test"; \
	  timeout 300 $$test || { echo "not ok $$test (exit $$?)"; failed=1; }; \
	done; exit $$failed

# ------------------------------------------------------------------------------------------------------------ fuzzing

# One target a file: tests/fuzz/fuzz_NAME.c, with its seeds in corpus/NAME and what once broke it in repro/NAME.
FUZZ_SECONDS ?= 60
FUZZ ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS := $(patsubst tests/fuzz/fuzz_%.c,build/replay/%,$(wildcard tests/fuzz/fuzz_*.c))

build/replay/%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(ASAN_CORE)
	@mkdir -p $(@D)
	@gcc $(COMMON) $(ASAN) -o $@ $< tests/fuzz/replay.c $(ASAN_CORE) -lpthread

build/fuzz/%: tests/fuzz/fuzz_%.c $(CORE_C) $(CORE_H)
	@mkdir -p $(@D)
	@clang $(WARN) -O1 -g -Ishardns/core -Itests/core -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	  -o $@ $< $(CORE_C) -lpthread

replay: $(REPLAYS)
	@for target in $(REPLAYS); do \
	  name=$${target##*/}; timeout 120 $$target tests/fuzz/corpus/$$name tests/fuzz/repro/$$name; \
	done

fuzz: $(addprefix build/fuzz/,$(FUZZ))
	@for name in $(FUZZ); do \
	  mkdir -p build/corpus/$$name tests/fuzz/corpus/$$name tests/fuzz/repro/$$name; \
	  echo "-- fuzz $$name for $(FUZZ_SECONDS) s"; \
	  build/fuzz/$$name -max_total_time=$(FUZZ_SECONDS) -timeout=5 -max_len=65535 -print_final_stats=0 -verbosity=1 \
	    -artifact_prefix=build/fuzz/$$name- build/corpus/$$name tests/fuzz/corpus/$$name tests/fuzz/repro/$$name; \
	done

# ------------------------------------------------------------------------------------------------------------- gates

lint: $(VENV)/.stamp-test core
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.stamp-test
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

unit: $(VENV)/.stamp-test core
	@$(BIN)/pytest -m 'not e2e'

e2e: $(VENV)/.stamp-test core
	@$(BIN)/pytest -m e2e

# In the order of what fails soonest. pytest comes last: its summary is the closing line.
test: $(VENV)/.stamp-test core
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test-core
	@$(MAKE) --no-print-directory replay
	@$(MAKE) --no-print-directory perf-quick
	@$(BIN)/pytest

run: $(VENV)/.stamp-run core
	@$(BIN)/shardns demo

# ----------------------------------------------------------------------------------------------------------- the image

image: $(VENV)/.stamp-run
	@IMAGE_PYTHON=$(BIN)/python deploy/image/build

# -------------------------------------------------------------------------------------------------------- measuring

export SOAK_SECONDS ?= 600
export SOAK_SEED

soak perf-quick perf-table: $(VENV)/.stamp-test core
	@perf/$@

perf: $(VENV)/.stamp-test core
	@tests/packages perf
	@perf/perf
