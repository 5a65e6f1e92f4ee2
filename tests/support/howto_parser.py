"""What the how-tos show: files, each with its name in the first line, and commands under the headings of sections."""

from __future__ import annotations

import re
import shlex
import typing as t
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = ROOT / "docs" / "how-to"
START = "../start"
NAMES = sorted(path.stem for path in DIRECTORY.glob("*.md"))
UNDO = "Undo"
_NAMED = re.compile(r"# ([\w./-]+)\n")


@dataclass(frozen=True)
class HowTo:
    """text: all of it. headings: of its sections. files: {name: content}. unnamed: blocks of files without a name.

    commands: (section, command), as they stand.
    """

    text: str
    headings: tuple[str, ...]
    files: t.Mapping[str, str]
    unnamed: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]

    def write(self, directory: Path) -> None:
        for name, content in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")


def read(name: str) -> HowTo:
    text = (DIRECTORY / f"{name}.md").read_text(encoding="utf-8")
    tokens = MarkdownIt("commonmark").parse(text)
    headings: list[str] = []
    files: dict[str, str] = {}
    unnamed: list[str] = []
    commands: list[tuple[str, str]] = []
    for number, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag == "h2":
            headings.append(tokens[number + 1].content)
        elif token.type == "fence":
            match = _NAMED.match(token.content)
            if match:
                files[match[1]] = token.content
            else:
                unnamed.append(token.content)
        elif token.type == "code_block":
            commands += [(headings[-1] if headings else "", line) for line in token.content.splitlines() if line]
    return HowTo(text, tuple(headings), files, tuple(unnamed), tuple(commands))


def words(command: str) -> list[str]:
    return shlex.split(command, comments=True)
