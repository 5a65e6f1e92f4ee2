"""Units of systemd: what starts, restarts and reloads them, and what they run."""

from __future__ import annotations

import configparser

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import units

PROGRAM = "/usr/local/sbin/netpath-egress"


def read(text: str) -> dict[str, dict[str, str]]:
    """Sections with their keys; several values of a key are joined, as systemd.unit(5) has it for lists."""
    lines: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("["):
            section = lines.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _equals, value = line.partition("=")
            section[key] = f"{section[key]} {value}" if key in section else value
    return lines


@pytest.mark.parametrize("text", [units.template(PROGRAM), units.restore(PROGRAM), units.service(PROGRAM, True)])
def test_units_carry_the_mark(text: str) -> None:
    assert text.startswith(units.MARK)
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(text.partition("\n")[2])
    assert "Service" in parser.sections()


@pytest.mark.parametrize("loader", ["nftables.service", "netfilter-persistent.service"])
def test_rules_come_back_with_the_service_that_loads_a_ruleset(loader: str) -> None:
    unit = read(units.restore(PROGRAM))
    assert loader in unit["Unit"]["PartOf"].split()  # stop and restart
    assert loader in unit["Unit"]["ReloadPropagatedFrom"].split()
    assert loader in unit["Unit"]["After"].split()
    assert loader in unit["Install"]["WantedBy"].split()  # start
    assert f"/etc/systemd/system/{loader}.wants/netpath-egress-restore.service" in units.RESTORE_LINKS
    assert unit["Service"]["ExecStart"] == unit["Service"]["ExecReload"] == f"{PROGRAM} apply"
    # One that is not active is neither restarted nor reloaded.
    assert unit["Service"]["RemainAfterExit"] == "yes"
    assert unit["Service"]["SuccessExitStatus"].split() == ["1", "4"]


def test_services_in_namespaces_are_not_restarted_along() -> None:
    """They require the unit of their network, which therefore is part of nothing."""
    unit = read(units.template(PROGRAM))
    assert not {"PartOf", "BindsTo", "Requires"} & set(unit["Unit"])
    assert "nftables.service" in unit["Unit"]["After"].split()


def test_boot_alone_does_what_may_cut_the_way() -> None:
    assert read(units.template(PROGRAM))["Service"]["ExecStart"] == f"{PROGRAM} apply --at-boot -- %i"
    for text in (units.restore(PROGRAM), units.service(PROGRAM, True)):
        assert "--at-boot" not in text
