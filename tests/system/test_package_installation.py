"""The role installs what a host lacks, with the package manager of its distribution, within the lab."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.lab import world
from tests.lab.booted import archive, requirements
from tests.lab.booted.lab import Lab
from tests.lab.booted.plan import ROOT
from tests.lab.syscalls import die_with
from tests.support.spec_questions import Options
from tests.support.system_engine import Host

_OBSTACLE = requirements.obstacle()
pytestmark = [pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)), pytest.mark.timeout(600)]

APPS: Options = {"name": "apps", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"]}
PACKAGES = ("python3-pyroute2", "nftables", "libnftables1")
PORT = 8000
_URL = f"http://{world.PUBLIC[0]}:{PORT}"
_INSTALLED = """
dpkg-query -W -f '${db:Status-Status} ${Package}\\n' python3-pyroute2 nftables 2>/dev/null |
    grep ^installed | sort || true
"""


class Done(t.NamedTuple):
    status: int
    output: str


@contextlib.contextmanager
def served(lab: Lab, folder: Path) -> t.Iterator[None]:
    """A folder by HTTP on the internet host, which is all that nodes reach."""
    descriptor, parent = lab.network("internet"), os.getpid()
    argv = ["nsenter", f"--net=/proc/self/fd/{descriptor}", sys.executable, "-u", "-m", "http.server", str(PORT)]
    argv += ["--bind", world.PUBLIC[0], "--directory", str(folder)]
    with subprocess.Popen(
        argv,
        pass_fds=[descriptor],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: die_with(parent),  # noqa: PLW1509 (a system call alone)
    ) as process:
        os.close(descriptor)
        try:
            assert process.stdout
            # It says so once it listens.
            assert process.stdout.readline().startswith("Serving HTTP")
            yield
        finally:
            process.kill()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "debian").symlink_to(archive.ensure("bookworm", PACKAGES))
    with Lab.create(f"packages-{os.getpid()}", {"packaged": "bookworm"}) as made, served(made, folder):
        Host(made, "packaged").sh(
            f"""
            rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
            echo 'deb [trusted=yes] {_URL}/debian ./' >/etc/apt/sources.list
            apt-get -qq update
            """
        )
        yield made


def site(lab: Lab, node: str, folder: Path, *options: str, playbook: str = "site", **variables: t.Any) -> Done:
    config = folder / "ansible.cfg"
    config.write_text("[defaults]\n[ssh_connection]\npipelining = true\n", encoding="utf-8")
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(lab.places.inventory)]
    asked = {"egress_networks": [APPS], "egress_persist": False, **variables}
    done = subprocess.run(
        [*argv, f"netpath.egress.{playbook}", "--limit", node, "-e", json.dumps(asked), *options],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(config), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(folder / "home")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    return Done(done.returncode, done.stdout)


@pytest.fixture
def host(lab: Lab, tmp_path: Path) -> t.Iterator[Host]:
    yield Host(lab, "packaged")
    removed = site(lab, "packaged", tmp_path, playbook="teardown")
    assert removed.status == 0, removed.output


@pytest.mark.parametrize(
    ("lacking", "way"),
    [
        (["python3-pyroute2", "nftables", "libnftables1"], "transaction"),
        (["python3-pyroute2"], "modules"),
        (["nftables", "libnftables1"], "transaction"),
    ],
    ids=["both", "pyroute2", "nft"],
)
def test_packages_of_the_distribution(lab: Lab, host: Host, tmp_path: Path, lacking: list[str], way: str) -> None:
    both = ["installed nftables", "installed python3-pyroute2"]
    host.sh(f"DEBIAN_FRONTEND=noninteractive apt-get -qq purge --yes {' '.join(lacking)}")
    there = [line for line in both if line.split()[1] not in lacking]
    foreseen = site(lab, "packaged", tmp_path, "--check", egress_apply=way)
    assert foreseen.status == 0, foreseen.output
    assert host.sh(_INSTALLED).splitlines() == there
    # Where the options name nothing, nothing is installed, and nothing built.
    refused = site(lab, "packaged", tmp_path, egress_pyroute2="none", egress_packages=[])
    assert refused.status != 0
    assert host.sh(_INSTALLED).splitlines() == there
    assert host.sh("ip netns list; ip -br link show type bridge") == ""

    built = site(lab, "packaged", tmp_path, egress_apply=way)
    assert built.status == 0, built.output
    assert host.sh(_INSTALLED).splitlines() == both
    assert host.unreachable("a1", families="4") == []
    again = site(lab, "packaged", tmp_path, egress_apply=way)
    assert (again.status, "changed=0" in again.output) == (0, True), again.output


def test_teardown_installs_what_it_needs(lab: Lab, host: Host, tmp_path: Path) -> None:
    """A host that lost a package since it was built is cleaned all the same."""
    assert site(lab, "packaged", tmp_path).status == 0
    host.sh("DEBIAN_FRONTEND=noninteractive apt-get -qq purge --yes python3-pyroute2")
    removed = site(lab, "packaged", tmp_path, playbook="teardown")
    assert removed.status == 0, removed.output
    assert host.sh("ip netns list; ip -br link show type bridge") == ""
