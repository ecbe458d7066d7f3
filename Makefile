# One command each; `make` alone lists them. Everything is installed into .venv, nothing outside the project
# but Debian packages, and those only where root is granted.
#   PYTHON=python3.12   the interpreter that makes .venv
#   EXTRAS=mic,gpu      what `make run` installs beside the base (gpu by itself where nvidia-smi finds one)
#   ARGS="--port 9000"  passed on to the command

EXTRAS ?= mic$(shell nvidia-smi >/dev/null 2>&1 && echo ,gpu)
ARGS ?=
RUN := .venv/.installed-$(EXTRAS)
DEV := .venv/.installed-dev

.PHONY: help run demo test lint check clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

run: $(RUN) ## install what is missing, start the daemon, print the dashboard's address
	.venv/bin/fac run $(ARGS)

demo: $(RUN) ## the same, with a call whose voice changes from human to machine-made
	@scripts/packages.sh "the demo call" asterisk-core-sounds-en-wav espeak-ng
	.venv/bin/fac run --demo $(ARGS)

test: $(DEV) ## install what the tests need, run all of them
	.venv/bin/pytest $(ARGS)

lint: $(DEV) ## format, lint and types
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

check: lint test ## what must be clean before a commit

clean: ## remove .venv and everything else that was made here
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp a set of extras: the second `make run` starts at once.
$(sort $(RUN) $(DEV)): pyproject.toml constraints.txt scripts/setup.sh
	@scripts/setup.sh "$(@:.venv/.installed-%=%)"
	@touch $@
