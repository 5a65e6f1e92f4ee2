"""The form of the how-tos."""

from __future__ import annotations

import pytest

from tests.support import howto_parser


@pytest.mark.parametrize("name", howto_parser.NAMES)
def test_form(name: str) -> None:
    page = howto_parser.read(name)
    assert len(page.text.splitlines()) <= 80
    assert "\n\n**Goal:** " in page.text
    ordered = [
        heading for heading in page.headings if heading in ("Files", "Run it", "How you know that it worked", "Undo")
    ]
    assert ordered == ["Files", "Run it", "How you know that it worked", "Undo"]
    assert page.headings[-1] == howto_parser.UNDO
    assert page.unnamed == ()
    assert page.commands
    index = (howto_parser.ROOT / "docs/index.md").read_text(encoding="utf-8")
    assert f"(how-to/{name}.md)" in index
