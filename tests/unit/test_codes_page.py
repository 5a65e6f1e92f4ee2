"""The page of codes has what the catalogue has. `python -m tests.unit.test_codes_page` writes its tables anew."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES, HOPS

PAGE = Path(__file__).parents[2] / "docs" / "codes.md"
_START = "<!-- codes -->\n"


def rendered() -> str:
    lines = ["| code | hop | tier | what it is | what puts it right |", "|---|---|---|---|---|"]
    for hop in HOPS:
        for code, entry in CODES.items():
            if entry.hop == hop:
                mark = " (degraded)" if entry.degraded else ""
                fix = entry.fix.replace("{namespace}", "NAME")
                lines.append(f"| `{code}` | {hop} | {entry.tier} | {entry.summary}{mark} | {fix} |")
    return "\n".join(lines) + "\n"


def test_page_lists_the_catalogue() -> None:
    assert PAGE.read_text(encoding="utf-8").partition(_START)[2] == rendered()


if __name__ == "__main__":
    head = PAGE.read_text(encoding="utf-8").partition(_START)[0]
    PAGE.write_text(head + _START + rendered(), encoding="utf-8")
