# Every target does its own set-up: a fresh clone on Debian or Ubuntu needs nothing but make.
.DEFAULT_GOAL := help
.PHONY: help setup setup-demo program build docs lint test-unit test-kernel test-playbooks test-report test-booted test-molecule test-compat test bench bench-fleet bench-path demo changelog clean

PYROUTE2_VERSIONS ?= 0.7.2 0.9.7
export PYROUTE2_VERSIONS

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing: system packages, .venv, the link on a collection path
	@scripts/setup.sh dev

setup-demo:
	@scripts/setup.sh demo

program: ## write build/netpath-egress, for hosts without Ansible
	@scripts/build-program.sh

docs: setup ## the documentation as a site, with the reference of modules, plugins and roles: build/site/index.html
	@scripts/docs.sh

lint: setup ## style, types, YAML, Ansible, sanity, changelog, documentation, and an import as on Galaxy
	@scripts/lint.sh

test-unit: setup ## the tests that need neither root nor a kernel of their own
	@scripts/test-unit.sh

test-kernel: setup ## the tests on this machine's kernel, with the oldest and the newest pyroute2
	@scripts/test-kernel.sh

test-playbooks: setup ## the playbooks end to end
	@scripts/test-playbooks.sh

test-report: setup ## the HTML report in a headless Chromium
	@scripts/test-report.sh

test-booted: setup ## the lab of booted nodes; the first run makes root file systems and takes minutes
	@scripts/test-booted.sh

test-molecule: setup ## the scenarios in molecule/ on booted nodes; SCENARIO=fleet for one of them
	@scripts/test-molecule.sh $(SCENARIO)

test-compat: setup ## the playbooks with each Python, pyroute2 and ansible-core that is supported, where Python is installed
	@scripts/test-compat.sh

test: setup ## all of the above, and a summary
	@scripts/test.sh

bench: setup ## what the path costs beside other ways to build it: SIZES, ROUNDS, IDIOMATIC, ONLY; docs/performance.md
	@scripts/bench.sh

bench-fleet: setup ## what a playbook costs on booted nodes: NODES, ROUNDS, WAYS, SUMMARISED
	@scripts/bench-fleet.sh

bench-path: setup ## what packets cost with all protections on and off: ROUNDS, SECONDS_EACH
	@scripts/bench-path.sh

build: setup ## the archive for Galaxy in build/dist, installed in build/installed: COLLECTIONS=build/installed make demo
	@scripts/build.sh

demo: setup-demo ## three nodes, nine namespaces: build, prove by packets, break, diagnose, repair, change nothing twice, tear down
	@scripts/demo.sh

changelog: setup ## write changelog.yaml and CHANGELOG.rst anew for the version in galaxy.yml
	@scripts/changelog.sh

clean: ## delete all that make made here, .venv too
	rm -rf build .venv .ansible .hypothesis tests/output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
