"""scripts/env.sh: the checkout's collection, in front of those that whoever sources it has."""

from __future__ import annotations

import os
import subprocess
import tempfile
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = str(ROOT / "build/collections")
DEFAULT = "{home}/.ansible/collections:/usr/share/ansible/collections"
# The variable and the line of ansible.cfg, and what follows the checkout.
OTHERS: dict[str, tuple[str, str, str]] = {
    "nothing": ("", "", DEFAULT),
    "variable": ("/srv/a:/srv/b", "collections_path = /srv/c", "/srv/a:/srv/b"),
    "configuration": ("", "collections_path = collections:~/more:/srv/c", "{folder}/collections:{home}/more:/srv/c"),
    "old name of the setting": ("", "collections_paths=./own", "{folder}/./own"),
    "sourced before": (f"{CHECKOUT}:/srv/a", "", "/srv/a"),
}


def sourced(folder: Path, command: str, variable: str = "") -> str:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "COLLECTIONS"))
    }
    environment.update({"HOME": "/home/somebody"}, **({"ANSIBLE_COLLECTIONS_PATH": variable} if variable else {}))
    done = subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("title", OTHERS)
def test_collections_of_the_user_follow(tmp_path: Path, title: str) -> None:
    variable, line, expected = OTHERS[title]
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\n{line}\n", encoding="utf-8")
    path = sourced(tmp_path, f'. {ROOT}/scripts/env.sh; echo "$ANSIBLE_COLLECTIONS_PATH"', variable)
    known: t.Mapping[str, t.Any] = {"home": "/home/somebody", "folder": tmp_path}
    assert path == f"{CHECKOUT}:{expected.format(**known)}"


def test_scripts_of_the_checkout_see_no_other_collection(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text("[defaults]\ncollections_path = /srv/c\n", encoding="utf-8")
    with tempfile.NamedTemporaryFile("w", dir=ROOT / "build", suffix=".sh") as script:
        script.write(f'. {ROOT}/scripts/env.sh; echo "$ANSIBLE_COLLECTIONS_PATH"')
        script.flush()
        assert sourced(tmp_path, f"bash {script.name}", "/srv/a") == CHECKOUT
