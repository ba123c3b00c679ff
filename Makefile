# The doors of the repository. `make` prints them; each sets up what it needs first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo up down status test containers bundle base-image images attacks lint unit bench soak faults fuzz audit clean

# The system's first: a distribution builds it optimised by profile, a version manager does not, and takes a fifth longer.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3.11) python3)
PY := .venv/bin/python
WORKERS ?= 4
# STACK=compose: demo, up and down are those of docker-compose.yml
CONTAINERS := $(filter compose,$(STACK))
export INPUT
# Where the caller's environment forbids it, every process would compile our code anew.
export PYTHONDONTWRITEBYTECODE :=

help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: ## system packages, Python packages, Kafka's jars (every other door does this first)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Python 3.11 or newer is needed; name it with PYTHON=" >&2; exit 1; }
	@$(PYTHON) -m deploy.native.bootstrap

demo: setup ## sign a file of vouchers (INPUT=file.csv for your own), verify every signature, and stop again
	@$(PY) -m services.igfmas demo $(if $(INPUT),--input "$$INPUT") $(if $(CONTAINERS),--containers)

up: setup ## start the embedded stack and leave it running (STACK=compose: the one of docker-compose.yml)
	@$(PY) -m deploy.$(if $(CONTAINERS),containers,native) up

down: setup ## stop the embedded stack; data is kept (STACK=compose, as above)
	@$(PY) -m deploy.$(if $(CONTAINERS),containers,native) down

status: setup ## what runs, and whether it answers
	@$(PY) -m deploy.native status

test: setup ## everything that needs no container engine: lint, types, all tests on the embedded stack
	@$(PY) -m pytest -n $(WORKERS)

containers: setup ## build the images, start docker-compose.yml, run the tests of it (as root installs and starts an engine)
	@$(PY) -m deploy.containers test

images: setup ## the images of docker-compose.yml (BASE_IMAGE=one that your engine has)
	@$(PY) -m deploy.containers build

bundle: setup ## images, docker-compose.yml, SBOMs and install.sh for a site without a network; leaves var/containers/bundle.tar
	@$(PY) -m deploy.containers bundle

base-image: setup ## a base image by debootstrap, where no registry of images can be reached (as root)
	@$(PY) -m deploy.containers base-image

attacks: setup ## what whoever has a password, a file or a place on the wire cannot do (part of `make test`)
	@$(PY) -m pytest -n $(WORKERS) -m 'attack and not campaign and not containers'

lint: setup ## ruff and mypy
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy libs services deploy tests

unit: setup ## the unit tests alone
	@$(PY) -m pytest -n 2 -p no:schemathesis tests/unit

bench: setup ## how fast, beside the raw rate of the HSM in the same run (ONLY=part,part, SCALE=0.01); leaves var/bench/results.json; ends with 1 where a target of a whole run does not hold; STACK=compose: beside containers
	@ONLY="$(ONLY)" SCALE="$(SCALE)" $(PY) -m tests.load.$(if $(CONTAINERS),beside,bench)

soak: setup ## ten minutes of steady mixed load (MINUTES=2): is memory flat? leaves var/bench/soak.json
	@MINUTES="$(MINUTES)" $(PY) -m tests.load.soak

faults: setup ## kill, freeze and starve each part under load (SEED=2, FAULT=name,name); leaves var/faults/report.json
	@SEED="$(SEED)" FAULT="$(FAULT)" $(PY) -m tests.faults.campaign

fuzz: setup ## mutated input for every parser of what others send (MINUTES=10 of CPU each, ONLY=cms,crl); leaves var/fuzz/report.json
	@$(PY) -m pip --disable-pip-version-check --quiet install --require-hashes -r tests/fuzz/requirements.lock
	@MINUTES="$(MINUTES)" ONLY="$(ONLY)" $(PY) -m tests.fuzz

audit: setup ## is everything signed also posted, and are records and signing log what they were? (of the stack of `make up`)
	@eval "$$($(PY) -m deploy.native environment auditor)" && $(PY) -m services.operations audit

clean: ## stop the stack; delete its data and every cache (Python packages and Kafka's jars stay)
	@test ! -x $(PY) || $(PY) -m deploy.native down
	@umount --lazy var/faults-*/kafka var/faults-*/postgres 2>/dev/null || true
	@find var -mindepth 1 -maxdepth 1 ! -name kafka -exec rm -rf {} + 2>/dev/null || true
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
