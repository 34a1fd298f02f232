# Every target sets up what it needs: on a machine with only Python >= 3.11, `make demo` and `make test` are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test browser test-all tutorials ci lint bench docs pictures certify certify-lowest types newest train-tiny site wheel-smoke clean

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

# The page of a run in Chromium (CHIASM_CHROMIUM), with axe-core where npm is there.
browser: setup
	$(BIN)/python -m pip install --quiet --group browser
	if command -v npm > /dev/null; then npm install --silent --no-save axe-core@4.14.1; fi
	$(BIN)/python -m pytest -m browser -n 0 tests/browser

test-all: setup
	$(BIN)/python -m pytest -n 2

# The notebooks of docs/tutorials, cell by cell, in a kernel.
tutorials: setup
	$(BIN)/python -m pytest tests/docs/test_tutorials.py

# What continuous integration runs.
ci: lint test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

bench: setup
	$(BIN)/python -m bench.flow

docs: setup
	$(BIN)/python docs/generate.py

# The site, with warnings as errors, in build/site: index.html opens from disk. It takes Sphinx alone, and no network.
SITE := .venv-site
site: $(SITE)/.installed
	$(SITE)/bin/python -m sphinx --builder html --fail-on-warning --keep-going --fresh-env --quiet \
	  --doctree-dir build/doctrees docs build/site

$(SITE)/.installed: pyproject.toml
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(SITE)/bin/python -m pip install --quiet --group docs
	touch $@

# The wheel alone, in an empty environment outside the repository.
wheel-smoke:
	.ci/wheel_smoke.sh $(PYTHON)

# The pictures of the README and of the guides; the map of patches is chosen by the rule that docs/pictures.py states.
pictures: setup
	$(BIN)/python docs/pictures.py

# What the suite finds on every family goes to src/chiasm/models/families/certified.json, and from there into the docs.
certify: setup
	$(BIN)/python -m tests.support.certify
	$(BIN)/python docs/generate.py

# The same on the lowest version of transformers that pyproject.toml allows (another: make certify-lowest LOWEST=5.x.y).
LOWEST ?= $(shell sed -n 's/.*"transformers>=\(.*\)",/\1/p' pyproject.toml)
certify-lowest: setup
	$(BIN)/python -m pip install --quiet --target $(VENV)/lowest --upgrade --no-deps "transformers==$(LOWEST)"
	PYTHONPATH=$(VENV)/lowest $(BIN)/python -m tests.support.certify
	$(BIN)/python docs/generate.py

# What becomes of a small model of every multimodal type that transformers maps: src/chiasm/models/mapped.json, and from
# there the docs. PICTURES of odd sizes are painted for each type that claims places.
# What single types need besides goes to a folder of its own; torchaudio is taken without its extensions, which want CUDA.
PICTURES ?= 500
BREADTH := $(VENV)/breadth
BREADTH_PACKAGES := timm torchaudio mistral-common requests tiktoken pydantic-extra-types pycountry urllib3 charset-normalizer idna certifi
$(BREADTH)/.installed: $(STAMP)
	$(BIN)/python -m pip install --quiet --target $(BREADTH) --upgrade --no-deps $(BREADTH_PACKAGES)
	rm -f $(BREADTH)/torchaudio/lib/*.so
	touch $@

types: $(BREADTH)/.installed
	PYTHONPATH=$(BREADTH) $(BIN)/python -m tests.support.breadth.table --pictures $(PICTURES)
	$(BIN)/python docs/generate.py

# The families' suite and every mapped type on the newest release of transformers; what changed goes to build/newest.md, the
# table to build/newest.json. The one that is kept is put back.
NEWEST := $(VENV)/newest
TABLE := src/chiasm/models/mapped.json
newest: $(BREADTH)/.installed
	mkdir -p build
	cp $(TABLE) build/before.json
	$(BIN)/python -m pip install --quiet --target $(NEWEST) --upgrade --no-deps transformers
	PYTHONPATH=$(NEWEST):$(BREADTH) $(BIN)/python -m tests.support.breadth.table --pictures 20; status=$$?; \
	  cp $(TABLE) build/newest.json; cp build/before.json $(TABLE); exit $$status
	$(BIN)/python -m tests.support.breadth.changes build/before.json build/newest.json > build/newest.md
	PYTHONPATH=$(NEWEST) $(BIN)/python -m tests.support.certify --check > build/families.txt; status=$$?; \
	  sed 's/^/    /' build/families.txt >> build/newest.md; exit $$status

train-tiny: setup
	$(BIN)/python -m recipes.tiny

clean:
	rm -rf $(VENV) $(SITE) dist build
