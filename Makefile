# Every target does its own set-up: a fresh clone on Debian or Ubuntu needs nothing but make.
.DEFAULT_GOAL := help
.PHONY: help setup setup-demo program build docs lint lock check test-unit test-kernel test-playbooks test-browser test-system test-molecule test-stock test-compat test test-nightly bench bench-fleet bench-path demo changelog clean

PYROUTE2_VERSIONS ?= 0.7.2 0.9.7
export PYROUTE2_VERSIONS

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing: system packages, .venv, the link on a collection path
	@scripts/setup/setup.sh dev

setup-demo:
	@scripts/setup/setup.sh demo

program: ## write build/netpath-egress, for hosts without Ansible
	@scripts/release/program.sh

docs: setup ## the documentation as a site, with the reference of modules, plugins and roles: build/site/index.html
	@scripts/docs/build.sh

lint: setup ## style, types, YAML, Ansible, sanity, changelog, documentation, and an import as on Galaxy
	@scripts/lint/all.sh

check: setup ## style, types, unit tests and the smoke tests on the kernel: minutes, before anything else
	@scripts/test/check.sh

test-unit: setup ## the tests that need neither root nor a kernel of their own
	@scripts/test/unit.sh

test-kernel: setup ## the tests on this machine's kernel, with the oldest and the newest pyroute2
	@scripts/test/kernel.sh

test-playbooks: setup ## the playbooks end to end
	@scripts/test/playbooks.sh

test-browser: setup ## the HTML report in a headless Chromium
	@scripts/test/browser.sh

test-system: setup ## booted nodes; the first run makes root file systems and takes minutes
	@scripts/test/system.sh

test-molecule: setup ## the scenarios in molecule/ on booted nodes; SCENARIO=fleet for one of them
	@scripts/test/molecule.sh $(SCENARIO)

test-stock: setup ## Debian's own kernels, booted by QEMU: what this machine's kernel may lack
	@scripts/test/stock.sh

test-compat: setup ## the playbooks with the oldest and newest Python, pyroute2 and ansible-core; all with NIGHTLY=1
	@scripts/test/compat.sh

test: setup ## lint and all of these tests, and a summary
	@scripts/test/all.sh

test-nightly: setup ## the same with all combinations, which needs hours
	@NIGHTLY=1 EXAMPLES=2000 scripts/test/all.sh

bench: setup ## what the path costs beside other ways to build it: SIZES, ROUNDS, IDIOMATIC, ONLY; docs/performance.md
	@scripts/bench/bench.sh

bench-fleet: setup ## what a playbook costs on booted nodes: NODES, ROUNDS, WAYS, SUMMARISED
	@scripts/bench/fleet.sh

bench-path: setup ## what packets cost with all protections on and off: ROUNDS, SECONDS_EACH
	@scripts/bench/path.sh

build: setup ## the archive for Galaxy in build/dist, installed in build/installed: COLLECTIONS=build/installed make demo
	@scripts/release/build.sh

demo: setup-demo ## three nodes, nine namespaces: build, prove by packets, break, diagnose, repair, change nothing twice, tear down
	@scripts/demo.sh

changelog: setup ## write changelog.yaml and CHANGELOG.rst anew for the version in galaxy.yml
	@scripts/release/changelog.sh

lock: setup ## write requirements/*.txt anew from requirements/*.in, with hashes
	@scripts/setup/lock.sh

clean: ## delete all that make made here, .venv too
	rm -rf build .venv .ansible .hypothesis tests/output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
