"""The page of codes has what the catalogue has. `python -m tests.unit.test_codes_page` writes its table anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES, HOPS
from ansible_collections.netpath.egress.plugins.module_utils._engine.repair.decision import BY_NAME, TIERS

PAGE = Path(__file__).parents[2] / "docs" / "codes.md"
_START, _END = "<!-- codes -->\n", "<!-- /codes -->\n"
ORDERED = [code for hop in HOPS for code, entry in CODES.items() if entry.hop == hop]


def rendered() -> str:
    lines = ["| code | hop | tier | what it is | what puts it right |", "|---|---|---|---|---|"]
    for code in ORDERED:
        entry = CODES[code]
        mark = " (degraded)" if entry.degraded else ""
        fix = entry.fix.replace("{namespace}", "NAME")
        lines.append(f"| [`{code}`](#{code.lower()}) | {entry.hop} | {entry.tier} | {entry.summary}{mark} | {fix} |")
    return "\n".join(lines) + "\n"


def page() -> tuple[str, str, str]:
    """What is before the table, the table, and what comes after it."""
    before, _start, rest = PAGE.read_text(encoding="utf-8").partition(_START)
    table, _end, after = rest.partition(_END)
    return before, table, after


def sections() -> dict[str, str]:
    parts = re.split(r"(?m)^### (.+)\n", page()[2])
    return dict(zip(parts[1::2], parts[2::2]))


def test_page_lists_the_catalogue() -> None:
    assert page()[1] == rendered()
    assert list(sections()) == ORDERED


@pytest.mark.parametrize("code", ORDERED)
def test_each_code_has_its_parts(code: str) -> None:
    """What it means, what proves it, and how it is put right, by hand and by whom else."""
    meaning, *parts = re.split(r"(?m)^- \*\*(.+?):\*\* ", sections()[code])
    assert len(meaning.split()) > 3
    assert parts[::2] == ["Proof", "By hand", "By role"]
    assert [part for part in parts[1::2] if len(part.split()) < 4] == []
    by_role, tier = parts[5], CODES[code].tier
    assert by_role.startswith("No") == (tier not in TIERS and code not in BY_NAME)
    assert (f"`{code}` in `remediate_codes`" in by_role) == (code in BY_NAME)


if __name__ == "__main__":
    start, _table, end = page()
    PAGE.write_text(start + _START + rendered() + _END + end, encoding="utf-8")
