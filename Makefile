# Two commands: `make explore` opens the painting, `make test` checks the whole repository.
# Both set up what they need the first time, and start at once afterwards.

SHELL := /bin/bash
BIN := .venv/bin

.PHONY: help setup explore test lint format bench clean

help:  ## list these targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup:  ## system libraries and .venv; does nothing when both are in place
	@tools/setup.sh

explore: setup  ## open the app; with no display, record a flight to a film and say where it is
	@$(BIN)/python -m explorer

test:  ## ruff, mypy and pytest (software GL on a virtual display)
	@tools/setup.sh g++
	@tools/test.sh

lint: setup  ## ruff and mypy only
	@tools/test.sh --lint

format: setup  ## rewrite the source in the house format
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: setup  ## measure this machine; results go to benchmarks/results/
	@$(BIN)/python -m benchmarks --save

clean:  ## remove .venv and the caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
