"""Checks the links of all Markdown of the repository as GitHub follows them, without a network.

Usage: links.py ROOT [FILE]    FILE gets a line for each link to elsewhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
import typing as t
import urllib.parse
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt("commonmark").enable("table")


class Page:
    """What a Markdown file links to, and the anchors that can be linked to."""

    def __init__(self, text: str) -> None:
        self.links: list[str] = []
        self.anchors: set[str] = set()
        tokens = _PARSER.parse(text)
        for number, token in enumerate(tokens):
            if token.type == "inline":
                self.links += _links(token)
                if tokens[number - 1].type == "heading_open":
                    self._add_anchor(_heading(token))
            elif token.type == "html_block":
                self.anchors.update(re.findall(r'\bid="([^"]+)"', token.content))

    def _add_anchor(self, heading: str) -> None:
        # As GitHub makes it: of headings with the same words, the later ones are numbered.
        anchor = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = 0
        while (made := f"{anchor}-{number}" if number else anchor) in self.anchors:
            number += 1
        self.anchors.add(made)


def _links(token: Token) -> t.Iterator[str]:
    for child in token.children or ():
        target = child.attrGet({"link_open": "href", "image": "src"}.get(child.type, ""))
        if target:
            yield urllib.parse.unquote(str(target))


def _heading(token: Token) -> str:
    return "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))


def wrong(root: Path, files: t.Iterable[Path], elsewhere: list[str] | None = None) -> list[str]:
    """What is wrong with the links of some files below root. elsewhere gets those that lead out of it."""
    pages: dict[Path, Page] = {}

    def page(path: Path) -> Page:
        if path not in pages:
            pages[path] = Page(path.read_text(encoding="utf-8"))
        return pages[path]

    told = []
    for file in files:
        for link in page(file).links:
            path, _mark, anchor = link.partition("#")
            if re.match(r"[a-zA-Z][\w+.-]*:", link) or link.startswith("//"):
                said = _malformed(link)
                if elsewhere is not None:
                    elsewhere.append(link)
            else:
                target = (file.parent / path).resolve() if path else file
                said = _broken(root, target, anchor, page)
            if said:
                told.append(f"{file.relative_to(root)}: {link}: {said}")
    return told


def _malformed(link: str) -> str:
    parts = urllib.parse.urlsplit(link)
    if parts.scheme not in ("http", "https"):
        return "neither http nor https"
    return "" if re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.hostname or "") else "without the name of a host"


def _broken(root: Path, target: Path, anchor: str, page: t.Callable[[Path], Page]) -> str:
    if not target.is_relative_to(root):
        return "leads out of the repository"
    if not target.exists():
        return "there is no such file"
    if anchor and (target.suffix != ".md" or anchor not in page(target).anchors):
        return "there is no such heading"
    return ""


def main(root: Path, *report: str) -> int:
    """Check what git knows or would add."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(listed, cwd=root, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\0")
    files = [root / name for name in sorted(names) if name and (root / name).exists()]
    elsewhere: list[str] = []
    told = wrong(root, files, elsewhere)
    for path in report:
        Path(path).write_text("".join(f"{link}\n" for link in sorted(set(elsewhere))), encoding="utf-8")
    for line in told:
        print(line, file=sys.stderr)
    print(f"{len(files)} files, {len(set(elsewhere))} addresses elsewhere, {len(told)} links that lead nowhere")
    return 1 if told else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]).resolve(), *sys.argv[2:]))
