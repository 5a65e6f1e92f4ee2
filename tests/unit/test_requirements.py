"""requirements/NAME.txt has what NAME.in asks for, each package with its version and hashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "requirements"
_PINNED = re.compile(
    r"^(?P<pin>[A-Za-z0-9._-]+==[^\s;\\]+)(?: ; [^\\]*)?(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)$"
)


def _pins(name: str) -> set[str]:
    lines = (FOLDER / f"{name}.in").read_text().splitlines()
    included = [line[len("-r ") : -len(".in")] for line in lines if line.startswith("-r ")]
    own = {line for line in lines if line and not line.startswith(("#", "-r "))}
    return own.union(*map(_pins, included))


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.in")))
def test_compiled_file_pins_and_hashes_what_is_asked_for(name: str) -> None:
    entries = re.split(r"\n(?=\S)", (FOLDER / f"{name}.txt").read_text().strip())
    found = [_PINNED.match(entry) for entry in entries]
    assert [entry for entry, match in zip(entries, found, strict=True) if match is None] == []
    pins = {match["pin"].lower() for match in found if match}
    assert {pin.lower() for pin in _pins(name)} <= pins
