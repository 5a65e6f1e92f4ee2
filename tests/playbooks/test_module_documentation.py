"""What ansible-doc shows of a module is what the module takes, and its examples are true."""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import types
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ModuleArgumentSpecValidator

from tests.support.spec_questions import SPECS, Options, all_of, ansible

# All tests read what one run of Ansible told.
pytestmark = pytest.mark.xdist_group("module_documentation")
ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "netpath.egress"
PLUGINS = "ansible_collections.netpath.egress.plugins.modules"
MODULES = sorted(file.stem for file in (ROOT / "plugins/modules").glob("*.py") if file.stem != "__init__")
# Those that change something; the others only look.
CHANGING = sorted(set(MODULES) & set(SPECS))
# Those that are an action on the controller alone, with a file that documents it.
ACTIONS = {"diagnosis_report", "import_report", "plan_report"}
# What a module takes besides the options of its objects.
CONFIRMING = {"confirm_within"}
ATTRIBUTES = {"platform", "action_group", "check_mode", "diff_mode", "idempotent"}
RETURNED = {"changed", "actions", "diff", "asked", "found", "advice", "rolled_back"}


@functools.cache
def documentation() -> dict[str, t.Any]:
    """By module, what ansible-doc shows: fragments and anchors are worked in."""
    names = [f"{COLLECTION}.{module}" for module in MODULES]
    argv, environment = ansible("ansible-doc", "--type", "module", "--json", *names)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    shown: dict[str, t.Any] = json.loads(done.stdout)
    return {module: shown[f"{COLLECTION}.{module}"] for module in MODULES if f"{COLLECTION}.{module}" in shown}


@functools.cache
def imported(module: str) -> types.ModuleType:
    return importlib.import_module(f"{PLUGINS}.{module}")


class _StartedError(Exception):
    """Stops a module where it has said what it takes."""


def started(module: str) -> dict[str, t.Any]:
    """What a module tells AnsibleModule about itself, or an action its validation."""
    if module in ACTIONS:
        action = importlib.import_module(f"{PLUGINS.replace('.modules', '.action')}.{module}")
        return {"argument_spec": action.OPTIONS, "supports_check_mode": action.ActionModule._supports_check_mode}
    told: dict[str, t.Any] = {}

    def listen(_self: AnsibleModule, argument_spec: Options, **rest: t.Any) -> None:
        told.update(rest, argument_spec=argument_spec)
        raise _StartedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AnsibleModule, "__init__", listen)
        with pytest.raises(_StartedError):
            imported(module).main()
    return told


def documented_options(options: dict[str, t.Any] | None) -> Options:
    """Options as documented, in the form of an argument spec."""
    return {
        name: {
            "type": option["type"],
            "required": bool(option.get("required", False)),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "elements": option.get("elements"),
            "options": documented_options(option.get("suboptions")),
        }
        for name, option in (options or {}).items()
    }


def accepted_options(options: Options | None) -> Options:
    """An argument spec with its defaults filled in."""
    return {
        name: {
            "type": option.get("type", "str"),
            "required": bool(option.get("required", False)),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "elements": option.get("elements"),
            "options": accepted_options(option.get("options")),
        }
        for name, option in (options or {}).items()
    }


def tasks(module: str) -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = yaml.safe_load(documentation()[module]["examples"])
    return found


def own_tasks() -> list[t.Any]:
    return [
        pytest.param(module, task, id=f"{module}: {task['name']}")
        for module in MODULES
        for task in yaml.safe_load(imported(module).EXAMPLES)
        if f"{COLLECTION}.{module}" in task
    ]


@pytest.mark.parametrize("module", MODULES)
def test_documented_options_are_those_accepted(module: str) -> None:
    documented = documented_options(documentation()[module]["doc"].get("options"))
    assert documented == accepted_options(started(module)["argument_spec"])


@pytest.mark.parametrize("module", CHANGING)
def test_config_takes_the_same_options(module: str) -> None:
    """At the top level nothing is required, since config may stand in its place."""
    top = {name: option for name, option in started(module)["argument_spec"].items() if name not in CONFIRMING}
    config = top.pop("config")
    assert config["options"] == SPECS[module].OPTIONS
    assert top == {
        name: {key: value for key, value in option.items() if key != "required"}
        for name, option in config["options"].items()
    }
    assert started(module)["mutually_exclusive"] == [("config", name) for name in top]


@pytest.mark.parametrize("module", MODULES)
def test_every_option_is_described(module: str) -> None:
    def walk(options: dict[str, t.Any]) -> t.Iterator[dict[str, t.Any]]:
        for option in options.values():
            yield option
            yield from walk(option.get("suboptions") or {})

    for option in walk(documentation()[module]["doc"].get("options") or {}):
        texts = option["description"]
        assert all(text.strip().endswith((".", ":")) for text in ([texts] if isinstance(texts, str) else texts))


@pytest.mark.parametrize("module", MODULES)
def test_attributes_and_requirements(module: str) -> None:
    document = documentation()[module]["doc"]
    assert set(document["attributes"]) >= ATTRIBUTES
    assert {name: document["attributes"][name]["support"] for name in ATTRIBUTES} == dict.fromkeys(ATTRIBUTES, "full")
    assert document["attributes"]["action_group"]["membership"] == [f"{COLLECTION}.egress"]
    assert module in ACTIONS or any(needed.startswith("pyroute2 >= 0.7.2") for needed in document["requirements"])
    assert document["version_added"] == "1.0.0"
    assert started(module)["supports_check_mode"] is True


@pytest.mark.parametrize("module", CHANGING)
def test_what_is_returned_is_documented(module: str) -> None:
    returned = documentation()[module]["return"]
    assert set(returned) == RETURNED | ({"backends"} if module in ("forward_accept", "nat_masquerade") else set())
    assert set(returned["diff"]["contains"]) == {"before", "after"}
    for name in ("before", "after"):
        yaml.safe_load(returned["diff"]["contains"][name]["sample"])


@pytest.mark.parametrize("module", MODULES)
def test_examples_are_named_and_fully_qualified(module: str) -> None:
    assert tasks(module)
    for task in tasks(module):
        assert task["name"][0].isupper()
        assert not task["name"].endswith(".")
        assert [key for key in task if "." in key]


@pytest.mark.parametrize(("module", "task"), own_tasks())
def test_examples_are_accepted(module: str, task: dict[str, t.Any]) -> None:
    told = started(module)
    exclusive, one_of = told.get("mutually_exclusive"), told.get("required_one_of")
    validator = ModuleArgumentSpecValidator(told["argument_spec"], mutually_exclusive=exclusive, required_one_of=one_of)
    checked = validator.validate(task[f"{COLLECTION}.{module}"] or {})
    assert checked.error_messages == []


@pytest.mark.parametrize(
    ("module", "task"), [case for case in own_tasks() if case.values[0] in SPECS and "{{" not in str(case.values[1])]
)
def test_examples_pass_the_checks_of_the_engine(module: str, task: dict[str, t.Any]) -> None:
    options = task[f"{COLLECTION}.{module}"]
    wanted = all_of(*((module, item) for item in options.get("config", [options])))
    assert wanted.facts or wanted.absent or wanted.released
