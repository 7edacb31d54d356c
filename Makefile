# Every target that needs the environment makes it first: `make demo` and `make test` work on a bare machine.
SHELL := /bin/bash
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# also where the folder is world-writable, in which Ansible would not look for its configuration
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Ansible insists on UTF-8
export LC_ALL := C.UTF-8
# molecule looks for scenarios below extensions/; ours are in molecule/
export MOLECULE_GLOB := molecule/*/molecule.yml
# mypy finds ansible_collections.carveout.memory here
export MYPYPATH := $(CURDIR)/collections

COLLECTION := ansible_collections.carveout.memory
UV_PIP_COMPILE := uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --group dev --extra augeas \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: help setup demo test lint format unit fuzz kernel-test molecule tenant-test safety-test changes-test rollback-test \
	rollout-test powercut-test boots-test others-test bench bench-memory bench-fleet lab-ssh lab-down lab-destroy build lock clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Debian packages and .venv; quick when nothing is missing
	@python3 tools/setup.py

demo: setup ## carve the lab's virtual host, from nothing to a verified layout
	@python -m tools.demo

test: ## every check, step by step: setup, lint, unit, kernel-test, molecule
	@for step in setup lint unit kernel-test molecule; do \
		started=$$SECONDS; \
		$(MAKE) --no-print-directory $$step || exit; \
		echo "== $$step passed in $$((SECONDS - started)) s"; \
	done

lint: setup ## ruff, mypy, yamllint, ansible-lint
	ruff check
	ruff format --check
	mypy --package $(COLLECTION).plugins
	mypy tools lab bench tests/kernel tests/fuzz tests/loaders tests/tenant tests/safety tests/changes tests/rollback \
		tests/powercut tests/rollout tests/boots tests/others tests/steps.py
	yamllint --strict .
	ansible-lint --offline

format: setup ## let ruff format the Python files and mend what it can
	ruff check --fix
	ruff format

unit: setup ## unit and property tests
	pytest -n 2 -rs tests/unit

fuzz: setup ## 100,000 malformed plans, hosts, command lines, layouts and logs
	@python -m tests.fuzz --count 100000

kernel-test: setup ## 24 command lines, new ones for each change, on real kernels in QEMU, against what is predicted
	@python -m tests.kernel run --count 24

molecule: setup ## the scenario `default`, on the lab's virtual host
	molecule test --scenario-name default

tenant-test: setup ## what tenants see: machines in every device, live changes, kexec, a power cut; about 30 minutes
	@python -m tests.tenant

safety-test: setup ## trial boots that fail, and the host that is as before each time; 2 to 10 minutes for each of 23
	@python -m tests.safety

changes-test: setup ## another kernel, other memory, hand-written arguments, a kernel that claims dmemfs; about an hour
	@python -m tests.changes

rollback-test: setup ## back to the layout before and to none, by playbook and on the host's console; about 30 minutes
	@python -m tests.rollback

boots-test: setup ## trial, later kernel and rollback by GRUB on BIOS and UEFI and by systemd-boot; about 90 minutes
	@python -m tests.boots

powercut-test: setup ## the power cut at every moment of a run: recorded writes replayed, disks booted, machines cut; about 40 minutes
	@python -m tests.powercut

rollout-test: setup ## a rollout over three virtual hosts: a trial that fails, a host that dies; half an hour or more
	@python -m tests.rollout

others-test: setup ## files of others through refusal, trial, change and rollback, byte for byte; about 15 minutes
	@python -m tests.others

bench: setup ## how fast one large host and 10,000 hosts are planned, in ratios; under 2 minutes on an idle machine
	@python -m bench

bench-memory: setup ## boot 320 GiB with each mechanism: what memory comes back; about 15 minutes
	@python -m bench.memory --record bench/records/memory.json

bench-fleet: setup ## 50 and 200 hosts behind sshd with nothing to do, beside a plain playbook, in ratios; root, about 10 minutes
	@python -m bench.remote

lab-ssh: setup ## log in to the lab's virtual host
	@python -m lab ssh

lab-down: setup ## stop it
	@python -m lab down

lab-destroy: setup ## stop it and remove its disk
	@python -m lab destroy

build: setup ## the wheel and the collection, into dist/
	python -m build --wheel --no-isolation --outdir dist
	ansible-galaxy collection build --force --output-path dist

lock: ## resolve requirements.lock anew, to the newest versions
	python3 -m venv .venv/lock
	.venv/lock/bin/pip install --quiet uv
	.venv/lock/bin/$(UV_PIP_COMPILE) --upgrade --output-file requirements.lock > /dev/null

clean: ## remove what is made, but not the lab
	rm -rf .venv .ansible dist reports .mypy_cache .ruff_cache .pytest_cache .hypothesis
