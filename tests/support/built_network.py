"""A network that is built once and broken by many tests, as long as each leaves it as it was."""

from __future__ import annotations

import contextlib
import typing as t

from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, unreachable_from
from tests.support.diagnosing import PODS, checked
from tests.support.drift_catalogue import NAMES
from tests.support.spec_questions import Options


class Built:
    """A network on a node of a world, healthy, and the state that it has as long as nothing drifted."""

    def __init__(
        self, world: World, network: Options = PODS, before: str = "true", targets: t.Sequence[str] = ()
    ) -> None:
        self.networks = [network]
        self.node = world.add_node()
        try:
            # Waiting for duplicate address detection each time is for other tests.
            self.node.run(["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"])
            other = "ip link add other address 02:00:00:00:00:09 type bridge; ip link set other addrgenmode none up"
            self.node.run(["sh", "-ec", f"{other}; {before}"])
            self.empty = self.node.snapshot()
            self.node.call(build_at_once, self.networks)
            for name in NAMES:
                settings_of = [f"net.ipv6.conf.{device}.accept_dad=0" for device in ("default", "eth0")]
                self.node.namespace_run(name, ["sysctl", "-qw", *settings_of])
            assert "nat" in network or unreachable_from(self.node, *NAMES) == []
            healthy = self.node.call(checked, self.networks, True, *([targets] if targets else []))
            assert [(one["status"], one["findings"]) for one in healthy] == [("ok", [])] * 4, healthy
            self.right = settled(self.node)
        except BaseException:
            self.node.close()
            raise

    def inject(self, script: str) -> None:
        self.node.run(["sh", "-ec", script])

    def wrong(self, *but: str) -> list[str]:
        """Lines of what differs from the right state, and has none of these words."""
        lines = difference(self.right, settled(self.node)).splitlines()
        changes = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
        return [line for line in changes if not any(word in line for word in but)]


class Bench:
    """The same built network for all tests; one that a test leaves different is not used again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._built: Built | None = None

    @contextlib.contextmanager
    def use(self) -> t.Iterator[Built]:
        built, self._built = self._built or Built(self._world), None
        try:
            yield built
            if built.wrong() == []:
                self._built = built
        finally:
            if self._built is not built:
                built.node.close()

    @contextlib.contextmanager
    def fresh(self, network: Options = PODS, before: str = "true", targets: t.Sequence[str] = ()) -> t.Iterator[Built]:
        """A network on a node of its own, used once. before: a script; targets: of the check that it is healthy."""
        built = Built(self._world, network, before, targets)
        with built.node:
            yield built
