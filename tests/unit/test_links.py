"""The checker of links: it follows them as GitHub does, and tells those that lead nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.docs.links import Page, wrong

ROOT = Path(__file__).resolve().parents[2]
# Folders that the scripts make.
_MADE = (".ansible", ".git", ".hypothesis", ".venv", "build")
OTHER = "# A page\n\n## Two `words`\n\n## Again\n\n## Again\n\n### NO_ADDRESS\n"


def test_links_of_the_repository_lead_somewhere() -> None:
    files = [file for file in ROOT.rglob("*.md") if file.relative_to(ROOT).parts[0] not in _MADE]
    assert len(files) > 40
    assert wrong(ROOT, files, []) == []


def test_anchors_are_those_of_github() -> None:
    assert Page(OTHER).anchors == {"a-page", "two-words", "again", "again-1", "no_address"}


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("other.md", ""),
        ("other.md#again-1", ""),
        ("folder/", ""),
        ("#here", ""),
        ("https://example.org/a?b#c", ""),
        ("missing.md", "there is no such file"),
        ("other.md#again-2", "there is no such heading"),
        ("#there", "there is no such heading"),
        ("folder/#part", "there is no such heading"),
        ("../outside.md", "leads out of the repository"),
        ("https:///nowhere", "without the name of a host"),
        ("ftp://example.org/", "neither http nor https"),
    ],
)
def test_link(tmp_path: Path, link: str, said: str) -> None:
    root = tmp_path / "repository"
    (root / "folder").mkdir(parents=True)
    (root / "other.md").write_text(OTHER, encoding="utf-8")
    (tmp_path / "outside.md").write_text("", encoding="utf-8")
    page = root / "page.md"
    page.write_text(f"# Here\n\n| a table |\n|---|\n| [text]({link}) |\n\n    [code](missing.md)\n", encoding="utf-8")
    assert wrong(root, [page]) == ([f"page.md: {link}: {said}"] if said else [])
