"""The become plugin: what a command sees in a namespace, and what no name can make of it."""

from __future__ import annotations

import subprocess
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.plugins.shell.sh import ShellModule
from ansible_collections.netpath.egress.plugins.become.netns import DOCUMENTATION, BecomeModule

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.building import build_at_once
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {
    "name": "pods",
    "subnets": ["10.22.33.0/24"],
    "namespaces": [{"name": "ns1", "dns": {"servers": ["198.51.100.53"]}}],
}


@pytest.fixture(scope="module")
def node() -> t.Iterator[Node]:
    with World(nodes=1) as world:
        world.nodes[0].call(build_at_once, [PODS])
        yield world.nodes[0]


class Asked(BecomeModule):
    """With options as Ansible would find them."""

    def __init__(self, options: t.Mapping[str, str]) -> None:
        super().__init__()
        defaults = yaml.safe_load(DOCUMENTATION)["options"]
        self.asked = {name: options.get(name, option.get("default")) for name, option in defaults.items()}

    def get_option(self, option: str, *_where: t.Any, **_else: t.Any) -> t.Any:
        return self.asked[option]


def command(cmd: str, **options: str) -> tuple[Asked, str]:
    """The plugin, and what a connection would run."""
    plugin = Asked({"netns": "ns1", **options})
    return plugin, plugin.build_become_command(cmd, ShellModule())


def run(node: Node, cmd: str, **options: str) -> subprocess.CompletedProcess[str]:
    plugin, whole = command(cmd, **options)
    done = node.run(["sh", "-c", whole], check=False)
    assert done.returncode or done.stdout.startswith(f"{plugin.success}\n"), done
    done.stdout = done.stdout.partition("\n")[2]
    return done


def test_network_and_files_are_those_of_the_namespace(node: Node) -> None:
    assert "10.22.33.2/24" in run(node, "ip -br address show eth0").stdout
    assert "nameserver 198.51.100.53\n" in run(node, "cat /etc/resolv.conf").stdout
    assert run(node, "ls /sys/class/net").stdout.split() == ["eth0", "lo"]
    assert run(node, "exit 7").returncode == 7


@pytest.mark.parametrize("shell", ["sh", "bash", "tcsh"])
def test_login_shell_of_any_kind_reaches_the_namespace(node: Node, shell: str) -> None:
    whole = command("ip -br address show eth0; exit 7")[1]
    done = node.run([shell, "-c", whole], check=False)
    assert (done.returncode, done.stderr) == (7, "")
    assert "10.22.33.2/24" in done.stdout


def test_another_user_has_no_more_rights_than_that_user(node: Node) -> None:
    assert (
        run(node, "id -un; ip -br link show eth0 | cut -d ' ' -f 1", become_user="nobody").stdout.split()[0] == "nobody"
    )
    assert run(node, "ip link set eth0 down", become_user="nobody").returncode
    assert "eth0" in run(node, "ip -br link show up").stdout


def test_connection_of_a_user_has_what_sudo_gives(node: Node) -> None:
    """Here it gives nothing: it is another program in its place, which tells what it was asked."""
    told = "/bin/echo"
    _plugin, whole = command("id -u", become_exe=told)
    done = node.run(["runuser", "-u", "nobody", "--", "sh", "-c", whole])
    assert done.stdout.startswith("-H -S -n -- ip netns exec ns1 /bin/sh -c echo BECOME-SUCCESS")
    assert "\n0\n" not in done.stdout


@pytest.mark.parametrize("there", ["touch /run/netns/gone", "rm -f /run/netns/gone"])
def test_namespace_that_is_not_there(node: Node, there: str) -> None:
    """Not 255, which would say that the host cannot be reached."""
    node.run(["sh", "-c", there])
    done = run(node, "true", netns="gone")
    assert (done.returncode, done.stderr) == (1, "this host has no network namespace gone\n")
    node.run(["rm", "-f", "/run/netns/gone"])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../1", "ns1; id", "$(id)", "-all", "ns1\nid", "a b", "'"])
def test_name_that_no_namespace_has(name: str) -> None:
    with pytest.raises(AnsibleError, match=r"is no namespace name|starts with"):
        command("true", netns=name)


@pytest.mark.parametrize("name", ["-u0", "root; id", "$(id)", "a b", "'", "../x"])
def test_name_that_no_user_has(name: str) -> None:
    with pytest.raises(AnsibleError, match="is no name of a user"):
        command("true", become_user=name)


@pytest.mark.parametrize("option", ["become_flags", "become_exe"])
def test_words_that_no_shell_reads(option: str) -> None:
    with pytest.raises(AnsibleError, match=f"{option}: .* is not what a shell can read: No closing quotation"):
        command("true", **{option: "'"})


def test_sudo_asks_for_its_password() -> None:
    plugin, whole = command("true", become_pass="secret", become_flags="-HSn --non-interactive -E")
    assert plugin.expect_prompt()
    assert "secret" not in whole
    assert f"sudo -HS -E -p '\"'\"'{plugin.prompt}" in whole
    plugin, whole = command("true")
    assert not plugin.expect_prompt()
    assert "sudo -H -S -n --" in whole
