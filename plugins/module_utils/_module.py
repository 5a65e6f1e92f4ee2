# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one bridge between Ansible modules and the engine."""

from __future__ import annotations

import dataclasses
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ._engine.errors import ApplyError, EgressError, printable
from ._engine.kernel import message_classes
from ._engine.model import Want
from ._engine.result import Result
from ._engine.spec.schema import Option, Options
from ._engine.spec.union import union

if t.TYPE_CHECKING:
    from ._engine.isolation import Outcome

Item = t.Mapping[str, t.Any]
# Of every module that may change what carries the controller's connection.
CONFIRMING: Options = {"confirm_within": {"type": "int", "default": 0}}


def argument_spec(options: Options) -> dict[str, Option]:
    """The options at the top level, and config as a list of the same."""
    top = {name: {key: value for key, value in option.items() if key != "required"} for name, option in options.items()}
    return {**top, "config": {"type": "list", "elements": "dict", "options": options}}


def run_module(options: Options, wanted: t.Callable[..., Want], looks_at_host: bool = False) -> None:
    """Run a module that manages objects: options to facts by wanted, and the engine does the rest.

    looks_at_host: wanted takes the host's observer as its second argument.
    """
    required = [name for name, option in options.items() if option.get("required")]
    module = AnsibleModule(
        argument_spec={**argument_spec(options), **CONFIRMING},
        mutually_exclusive=[("config", name) for name in options],
        required_one_of=[("config", name) for name in required],
        supports_check_mode=True,
    )
    items = _items(module, options)

    def build(host: t.Any) -> Want:
        wants = []
        for key, item in items:
            arguments = (item, host) if looks_at_host else (item,)
            wants.append((key or "request", wanted(*arguments, f"{key}." if key else "")))
        return union(wants)

    run_request(module, build, check=lambda: build(_NoHost()))


class _NoHost:
    """Stands for the host while arguments are checked, when nothing has been looked at."""

    def listening_links(self, _netns: str) -> list[str]:
        return []

    def managers(self) -> list[str]:
        return []

    def bridge_netfilter(self, _netns: str) -> bool:
        return True

    def nat_backend(self, _netns: str, _asked: str) -> tuple[str, str]:
        return ("nftables", "")

    def lacking(self, _netns: str, _addresses: t.Iterable[str]) -> list[str]:
        return []

    def forward_backends(self, *_asked: t.Any) -> list[tuple[str, str, t.Collection[int]]]:
        return []

    def default_uplinks(self, _netns: str) -> dict[int, list[list[str]]]:
        return {}

    def uplinks_noted(self, _netns: str) -> dict[int, list[str]]:
        return {}


def run_request(
    module: AnsibleModule,
    build: t.Callable[[t.Any], Want],
    check: t.Callable[[], t.Any],
    programs: t.Sequence[str] = (),
) -> None:
    """Bring the host to what build wants of it, and end the module.

    check raises what is wrong with the arguments alone, before pyroute2 is imported, which takes a while. programs:
    those that must be there.
    """
    try:
        check()
        require_pyroute2(module)
        _require_programs(module, programs)
        from ._engine.run import run

        result = run(build, check=module.check_mode, confirm_within=max(0, module.params["confirm_within"]))
    except EgressError as error:
        fail(module, error)
    module.exit_json(**_told(module, result))


def run_networks(
    module: AnsibleModule,
    names: t.Sequence[str],
    build: t.Callable[[t.Any, t.Sequence[str]], Want],
    check: t.Callable[[], t.Any],
    programs: t.Sequence[str] = (),
    describe: t.Callable[[t.Sequence[str]], t.Mapping[str, t.Mapping[str, t.Any]]] = lambda _names: {},
    more: t.Mapping[str, t.Any] | None = None,
) -> None:
    """The same for networks, each as a whole or not at all; the module fails for those that could not be built.

    build: what is wanted of the host, for some of the networks by their names. describe: what else is returned of those
    that could. more: what else is returned of the host.
    """
    try:
        check()
        require_pyroute2(module)
        _require_programs(module, programs)
        from ._engine.isolation import isolated
        from ._engine.run import run

        confirm_within = max(0, module.params["confirm_within"])

        def attempt(some: t.Sequence[str], ahead: bool, spared: t.Collection[str]) -> Result:
            return run(lambda host: build(host, some), ahead, confirm_within=confirm_within, spared=spared)

        outcome = isolated(names, attempt, module.check_mode)
    except EgressError as error:
        fail(module, error)
    told = _told(module, outcome.result)
    sound = [name for name in names if name not in outcome.failed]
    described = describe(sound) if sound else {}
    told["networks"] = [{**_network(name, outcome), **described.get(name, {})} for name in sorted(names)]
    told.update(more or {})
    if not outcome.failed:
        module.exit_json(**told)
    first = next(iter(outcome.failed.values()))
    reasons = [f"network {name}: {error}" for name, error in outcome.failed.items()]
    msg = str(first) if len(names) == 1 else "; ".join(reasons)
    module.fail_json(msg=msg, **{**told, **_details(first)})


def _network(name: str, outcome: Outcome) -> dict[str, t.Any]:
    """What came of one of them."""
    error = outcome.failed.get(name)
    changed = name in outcome.built and name in outcome.result.networks
    if error:
        return {"name": name, "status": "failed", "changed": changed, "error": str(error)}
    return {"name": name, "status": "changed" if changed else "unchanged", "changed": changed, "error": ""}


def _told(module: AnsibleModule, result: Result) -> dict[str, t.Any]:
    """What a module returns of a run."""
    for choice in result.choices:
        if not choice.backend:
            module.warn(printable(f"{choice.name}: {choice.reason}"))
    choices = [dataclasses.asdict(choice) for choice in result.choices if choice.purpose != "source"]
    told: dict[str, t.Any] = {"backends": choices} if choices else {}
    if result.unconfirmed:
        told["unconfirmed"] = dict(zip(("token", "hazards"), result.unconfirmed))
    return {"changed": result.changed, "actions": result.actions, "diff": result.diff, **told}


def fail(module: AnsibleModule, error: EgressError) -> t.NoReturn:
    """End the module with an error that a person understands."""
    module.fail_json(msg=str(error), **_details(error))
    raise AssertionError("fail_json does not return")


def _details(error: EgressError) -> dict[str, t.Any]:
    details: dict[str, t.Any] = {"asked": error.asked, "found": error.found, "advice": error.advice}
    if isinstance(error, ApplyError):
        details["rolled_back"] = error.rolled_back
    return details


def _items(module: AnsibleModule, options: Options) -> list[tuple[str, Item]]:
    """(key, options) of each request; the key is empty for the top level."""
    if module.params["config"] is None:
        return [("", {name: module.params[name] for name in options})]
    return [(f"config[{index}]", item) for index, item in enumerate(module.params["config"])]


def _require_programs(module: AnsibleModule, programs: t.Sequence[str]) -> None:
    for name in programs:
        if not module.get_bin_path(name):
            _missing(module, f"The program {name} is missing.", name)


def require_pyroute2(module: AnsibleModule) -> str:
    """The version of pyroute2; the module fails with a hint, and missing set, where there is none or it is too old."""
    needed = f"pyroute2 >= {'.'.join(map(str, message_classes.OLDEST))}"
    try:
        version = message_classes.version()
    except ImportError:
        _missing(module, missing_required_lib(needed), "pyroute2", exception=traceback.format_exc())
    if message_classes.too_old(version):
        _missing(module, f"{missing_required_lib(needed)} Found is pyroute2 {version}.", "pyroute2")
    return version


def _missing(module: AnsibleModule, words: str, missing: str, **more: str) -> t.NoReturn:
    """End the module. Where the user lacks the rights as well, these come first: nobody could install it without."""
    from ._engine.kernel.features import require_privilege

    try:
        require_privilege()
    except EgressError as error:
        fail(module, error)
    module.fail_json(msg=words, missing=missing, **more)
    raise AssertionError("fail_json does not return")
