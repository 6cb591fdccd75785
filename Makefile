# Two commands for a fresh machine: `make demo` and `make test`. PYTHON picks the interpreter (3.10 or newer).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint clean

.venv/installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -r requirements.txt
	touch $@

.venv/installed-dev: .venv/installed requirements-optional.txt requirements-dev.txt
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	touch $@

# Strategies on the truth of a table; a search on the embedded digits, whose best candidates are trained and ranked by
# that; its winner trained from scratch; and whether it is better than chance.
demo: .venv/installed
	$(BIN)/python -m studies.table --save demo --searchers random,rl,predictor --queries 50,100,200 --seeds 10
	$(BIN)/python train_search_cifar.py --save demo --data digits --recipe tuned --blocks "[1]" --child_out_filters 16 \
	  --batch_size 64 --cutout 0 --epochs 20 --controller_steps 4 --valid_steps 5 --derive_samples 30 \
	  --deploy_stem quarter --finals 4 --final_epochs 6 --final_rounds 1
	$(BIN)/python retrainer_cifar.py --save demo --data digits --stem quarter --child_out_filters 16 \
	  --cutout 0 --epochs 6 --drop_prob 0.1 --arch "$$(ls -t result/search/demo-*/genotypes.json | head -n 1)#0"
	$(BIN)/python -m studies.winner "$$(ls -td result/search/demo-* | head -n 1)" --save winner --epochs 6 --jobs 2 -- \
	  --batch_size 64 --drop_prob 0
	@echo "TensorBoard for both:  $(BIN)/tensorboard --logdir result"

test: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
