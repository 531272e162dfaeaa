# make compare  the main job: profile, plan, run and compare AlexNet, VGG16 and ResNet50
# make test     the tests (3 to 6 minutes on two cores)
# make study    the whole study: three models, four batch sizes, eight splits, five rounds (hours; goes on where it stopped)
# make quick    a short version of it (about 6 minutes)
# make fuzz     20,000 mutated files against everything that reads one (about 10 minutes)
# make gallery  every picture of the documentation anew (a few minutes; needs chromium)
# make site     these pages as a site: build/site/index.html
# make check    everything that has to pass before a commit lands
# make slow     the tests that take long: whole commands, faults, the pages' examples (5 to 9 minutes on two cores)
# make released wheel and sdist, each installed in a clean environment, where the main job has to run (about 5 minutes)
# make hosts    the tests on four hosts, made of network namespaces: needs root (about 9 minutes)
# Of other versions: make released PYTHON=python3.13 TORCH="torch==2.9.0 torchvision==0.24.0"
# Each sets up .venv first, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RELEASED := build/released
SMOKE := released/bin/python -m pytest --noconftest -c /dev/null -o markers=smoke -p no:cacheprovider
TESTS := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
READY := $(VENV)/.ready

.PHONY: gallery compare study quick test slow released hosts fuzz site check setup lint types borders clean

compare: $(READY)
	$(BIN)/python -m runtime compare --model alexnet vgg16 resnet50 --out results

study: $(READY)
	$(BIN)/python -m runtime compare --config configs/study.yaml --out results/study

quick: $(READY)
	$(BIN)/python -m runtime compare --config configs/study.yaml --quick --fresh --out results/quick

test: $(READY)
	$(TESTS)

slow: $(READY)
	$(TESTS) -m slow

released: $(READY)
	rm -rf build/dist build/stageplan-* $(RELEASED)
	$(BIN)/python -m hatchling build -d build/dist
	$(PYTHON) -m venv $(RELEASED)
	$(RELEASED)/bin/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH),,--constraint constraints.txt) \
		pytest hatchling $(TORCH) build/dist/*.whl
	cd build && $(SMOKE) ../tests/test_smoke.py
	$(RELEASED)/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps --no-build-isolation \
		build/dist/*.tar.gz
	cd build && tar -xzf dist/*.tar.gz && $(SMOKE) stageplan-*/tests/test_smoke.py
	rm -rf $(RELEASED) build/stageplan-*

hosts: $(READY)
	$(BIN)/python -m pytest -m hosts

fuzz: $(READY)
	$(BIN)/python -m pytest --hypothesis-profile=fuzz --timeout=0 tests/test_mutated_files.py

gallery: $(READY)
	$(BIN)/python benchmarks/gallery.py

site: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

check: lint types borders test

setup: $(READY)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks examples

borders: $(READY)
	$(BIN)/lint-imports

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stageplan needs Python 3.11 or newer: call make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build results profiles .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
