# Every target sets up what it needs: on a machine with only Python >= 3.11, `make demo` and `make test` are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-all lint bench docs train-tiny clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt torch numpy
	$(BIN)/python -m pip install --quiet -c constraints.txt -e . --group dev
	$(BIN)/python -m pip install --quiet --no-deps torchvision==0.28.0
	cp tests/support/torchvision_shim.py "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/torchvision_shim_dev.py"
	echo 'import torchvision_shim_dev; torchvision_shim_dev.install_lazily()' \
	  > "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/torchvision_shim_dev.pth"
	touch $(STAMP)

demo: setup
	$(BIN)/chiasm demo --out runs/demo

test: setup
	$(BIN)/python -m pytest -m "not heavy" -n 2

test-all: setup
	$(BIN)/python -m pytest -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

bench: setup
	$(BIN)/python -m bench.flow

docs: setup
	$(BIN)/python docs/generate.py

train-tiny: setup
	$(BIN)/python -m chiasm.tiny.train

clean:
	rm -rf $(VENV) dist build
