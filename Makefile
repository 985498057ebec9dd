# Needs python3.11 and make; everything else is installed into .venv from requirements.lock on first use.
PYTHON  ?= python3.11
WORKERS ?= 2
ARGS    ?=

BIN   := .venv/bin
STAMP := .venv/.lethe-stamp
PIP   := $(BIN)/python -m pip --disable-pip-version-check

# One thread each: two test workers on two cores then do not fight, and sums keep their order from run to run.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.PHONY: help setup demo test lint format docs headlines table classifiers recommenders bench lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## ?/  make \1\t/' | expand -t 16

setup: $(STAMP)  ## create or refresh .venv

$(STAMP): requirements.lock pyproject.toml
	@echo "Installing the pinned environment into .venv (about two minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install --quiet --requirement requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)  ## unlearn, attack and audit the embedded worlds; report in out/demo
	$(ONE_THREAD) $(BIN)/lethe demo --out out/demo

test: $(STAMP)  ## run the tests (ARGS="tests/test_x.py -k name" selects)
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(STAMP)  ## ruff and pyright
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(STAMP)  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(STAMP)  ## speed and memory: training, evaluation, step rules, search, audit, recommenders, SISA
	$(ONE_THREAD) $(BIN)/python benchmarks_perf/train_step.py
	$(ONE_THREAD) $(BIN)/python benchmarks_perf/eval_suite.py
	$(ONE_THREAD) $(BIN)/python benchmarks_perf/step_rules.py
	$(ONE_THREAD) $(BIN)/python benchmarks_perf/gcg.py
	$(ONE_THREAD) $(BIN)/python benchmarks_perf/audit_cost.py
	$(ONE_THREAD) $(BIN)/python benchmarks_perf/lightgcn.py
	$(ONE_THREAD) $(BIN)/python benchmarks_perf/large_graph.py
	$(ONE_THREAD) $(BIN)/python benchmarks_perf/sisa_speedup.py

headlines: $(STAMP)  ## measure the claims of papers in miniature (half an hour); writes docs/headlines.md
	rm -rf out/headlines
	$(ONE_THREAD) $(BIN)/lethe bench headlines --seeds 5 --workers $(WORKERS) --out out/headlines; \
		status=$$?; test $$status -gt 1 || cp out/headlines/headlines.md docs/headlines.md; exit $$status

table: $(STAMP)  ## compare all methods on the authors world; writes docs/methods-table.md
	$(ONE_THREAD) $(BIN)/lethe bench tofu --seeds 3 --workers $(WORKERS) --out out/table; \
		status=$$?; test $$status -gt 1 || cp out/table/table.md docs/methods-table.md; exit $$status

classifiers: $(STAMP)  ## all methods on faces and digits (a quarter of an hour); writes docs/classifiers-orders.md
	for split in random class; do \
		test $$split = random && names=faces,digits || names=digits; \
		$(ONE_THREAD) $(BIN)/lethe bench $$names $$(test $$split = class && echo --split class) --seeds 3 --no-attacks \
			--workers $(WORKERS) --out out/classifiers-$$split; test $$? -le 1 || exit 1; \
	done
	cat out/classifiers-random/orders.md > docs/classifiers-orders.md
	sed -n '/^## /,$$p' out/classifiers-class/orders.md >> docs/classifiers-orders.md

recommenders: $(STAMP)  ## all methods on the shop, and on SOURCE=adm_10core.tsv; writes docs/recommenders-table.md
	$(ONE_THREAD) $(BIN)/lethe bench shop --seeds 3 --no-attacks --workers 1 --out out/recommenders; test $$? -le 1
	cp out/recommenders/table.md docs/recommenders-table.md
	test -z "$(SOURCE)" || { $(ONE_THREAD) $(BIN)/lethe bench shop --source $(SOURCE) --seeds 3 --no-attacks --workers 1 \
		--out out/recommenders-published; test $$? -le 1; }
	test -z "$(SOURCE)" || sed -n '/^## /,$$p' out/recommenders-published/table.md >> docs/recommenders-table.md

# torch is held at the version the lock names (raise it there first): the newest build for this machine would bring
# its own CUDA wheels into a file that is meant for every machine.
lock:  ## resolve pyproject.toml afresh and rewrite requirements.lock
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet ".[hub,tensorboard,tune,eval,docs,dev]" "$$(grep '^torch==' requirements.lock)"
	grep '^#' requirements.lock > build/requirements.lock
	build/lock/bin/pip freeze --all --exclude pip --exclude lethe-ml | sed 's/+cpu$$//' | grep -vE '^(nvidia-|cuda-|triton==)' \
		>> build/requirements.lock
	mv build/requirements.lock requirements.lock

clean:  ## remove what the commands wrote (never .venv)
	rm -rf build dist out site .pytest_cache .ruff_cache .hypothesis
