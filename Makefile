# `make demo` and `make test` need nothing but make, a C++ compiler and a supported Python.
# The default target explains the others.
.DEFAULT_GOAL := help
.PHONY: help env demo test test-unit test-slow mutation lint starter images docs lock clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
# Test processes, `make test WORKERS=1` for few: one more than cores, for tests wait for servers and
# disks, and 4 at most, for each takes 3 GB.
# Groups start in the order of tests/conftest.py, and not by their number of tests.
WORKERS := $(shell echo $$(($$(nproc) < 4 ? $$(nproc) + 1 : 4)))
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP)  ## Create the environment in .venv (TFX=1.16 or TFX=1.21 forces which).

# An environment of another TFX than the one asked for is made anew.
ifneq ($(TFX),)
ifneq ($(TFX),$(shell cat $(VENV)/.tfx 2>/dev/null))
$(STAMP): FORCE
FORCE:
endif
endif

$(STAMP): setup.py pyproject.toml uv.lock constraints.txt .ci/make_env
	@TFX=$(TFX) bash .ci/make_env $(VENV)
	@touch $@

# With oneDNN, which trains faster, and which TensorFlow leaves off on CPUs without AVX512-VNNI.
demo: env  ## From synthetic videos to a gated, pushed model (runs/demo).
	@TF_ENABLE_ONEDNN_OPTS=$${TF_ENABLE_ONEDNN_OPTS:-1} $(BIN)/deepfake run --preset demo

test: env  ## All tests but the slow ones.
	@$(PYTEST) -m "not slow"

test-unit: env  ## The tests that need no component, server or pipeline.
	@$(PYTEST) -m "not slow and not integration"

test-slow: env  ## The slow tests only.
	@$(PYTEST) -m "slow and not alone"
	@$(BIN)/python -m pytest -m "slow and alone"

mutation: env  ## Do the tests notice changes of the code? (Long.)
	@$(BIN)/python .ci/mutation.py

lint: env  ## Check format, style, types, and which folder imports which.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

starter: env  ## Train the starter on the crops in the folder that DEEPFAKE_TEST_MEDIA names.
	@$(BIN)/python -m benchmarks.real_faces --rows ours --seeds 1 --starter serving/starter/1

images:  ## Build the images with podman or docker, and print their sizes.
	@bash .ci/images

docs: env  ## Write the configuration reference anew from the classes.
	@$(BIN)/python -m pipeline.config_reference > docs/configuration.md.new
	@mv docs/configuration.md.new docs/configuration.md

lock: env  ## Resolve setup.py's lists anew into uv.lock and constraints.txt.
	@$(BIN)/uv lock
	@$(BIN)/uv export --frozen --all-extras --no-hashes --no-emit-project --no-annotate \
		--output-file constraints.txt --quiet

clean:  ## Delete what runs and tests made; the environment stays.
	rm -rf runs build mutants .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
