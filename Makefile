.DEFAULT_GOAL := help
BIN := .venv/bin
LOCK := uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --quiet --no-emit-index-url --custom-compile-command "make lock"

.PHONY: help
help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: demo
demo: setup ## the main job on real flights: ship, canary, roll back, blue-green, undo (about 3 minutes)
	@$(BIN)/slipway demo

.PHONY: up
up: setup ## the local stack (MLflow, control plane, Envoy) until Ctrl-C
	@$(BIN)/slipway up

.PHONY: test
test: setup ## all tests (but those in containers: test-compose)
	@$(BIN)/pytest -n 2 --dist loadfile --ignore=tests/compose

.PHONY: test-compose
test-compose: setup ## bring docker-compose.yml up and ship a model through it (COMPOSE_STAND_INS=1 where no image can be pulled)
	@TEST_COMPOSE=1 $(BIN)/pytest tests/compose

.PHONY: check
check: setup ## format, lint, types, import rules, lock file fresh
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@cp requirements.lock .venv/fresh.lock && $(BIN)/$(LOCK) -o .venv/fresh.lock && diff requirements.lock .venv/fresh.lock >/dev/null \
		|| { echo "requirements.lock does not fit pyproject.toml: run 'make lock'"; exit 1; }

.PHONY: bench
bench: setup ## the benchmarks: tables here, JSON under .slipway/bench/
	@for script in $(filter-out bench/bench_judge.py bench/bench_drift.py,$(wildcard bench/bench_*.py)); do $(BIN)/python $$script || exit 1; done

.PHONY: bench-judge
bench-judge: setup ## what the judge promises, simulated: tables here, JSON under .slipway/bench/, pictures in docs/images/
	@$(BIN)/python bench/bench_judge.py

.PHONY: bench-drift
bench-drift: setup ## drift beside Evidently, NannyML and ADWIN (an environment of its own for them): tables here, JSON under .slipway/bench/, pictures in docs/images/
	@$(BIN)/python bench/bench_drift.py

.PHONY: dashboards
dashboards: setup ## Grafana's dashboards, written from grafana/*.py into grafana/dashboards/
	@$(BIN)/python -m grafana.generate

.PHONY: setup
setup: .venv/.ready ## the virtual environment, from requirements.lock

.venv/.ready: requirements.lock pyproject.toml setup.sh
	@./setup.sh

.PHONY: lock
lock: setup ## resolve pyproject.toml into requirements.lock again
	@$(BIN)/$(LOCK) -o requirements.lock

.PHONY: clean
clean: ## remove the environment and all local state
	rm -rf .venv .slipway
