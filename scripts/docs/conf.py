"""How Sphinx builds the site, from a copy of docs/ with the reference beside it. scripts/docs/build.sh makes both."""

from __future__ import annotations

import os
import posixpath
import re
import typing as t
from pathlib import Path

ROOT = Path(os.environ["ROOT"])
FILES = "https://github.com/netpath/egress/blob/main/"
FOLDERS = "https://github.com/netpath/egress/tree/main/"

project = "netpath.egress"
author = "netpath.egress contributors"
project_copyright = author
version = release = re.findall(r"(?m)^version: (.+)$", (ROOT / "galaxy.yml").read_text(encoding="utf-8"))[0]

extensions = ["myst_parser", "sphinx_antsibull_ext"]
# Anchors of headings are those that GitHub makes.
myst_heading_anchors = 4
exclude_patterns = ["examples", "monitoring"]
highlight_language = "none"
nitpicky = True
# What is in the documentation of ansible-core stays text: no network is needed to build the site.
nitpick_ignore = [
    ("std:ref", "action_plugins"),
    ("std:ref", "ansible_configuration_settings"),
    ("std:ref", "common_return_values"),
    *(
        ("std:envvar", name)
        for name in (
            *("NO_COLOR", "ANSIBLE_NOCOLOR", "ANSIBLE_FORCE_COLOR"),
            *("ANSIBLE_BECOME_EXE", "ANSIBLE_BECOME_FLAGS", "ANSIBLE_BECOME_USER"),
        )
    ),
]

html_theme = "furo"
html_title = f"netpath.egress {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path = [str(Path(__file__).with_name("site.css"))]
html_css_files = ["site.css"]

_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")
# The theme has the contents of a page beside it.
_CONTENTS = re.compile(r"(?m)^\.\. contents::\n(?: +\S.*\n)*")
_ENTRY = re.compile(r"^- \[([^\]]+)\]\(([\w/-]+)\.md\)", re.MULTILINE)


def _linked(page: str, match: re.Match[str]) -> str:
    """What is no page of the site is a file of the repository."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), match[1]))
    if path.startswith("docs/") and path.endswith(".md"):
        return match[0]
    if path.endswith((".svg", ".png")):
        return match[0]
    return f"]({FOLDERS if (ROOT / path).is_dir() else FILES}{path}{match[2] or ''})"


def _navigation(index: str) -> str:
    """A table of contents for each section of the index, in its order; the reference comes last."""
    made = []
    for section in re.split(r"(?m)^## ", index)[1:]:
        caption = section.partition("\n")[0]
        entries = [f"{title} <{page}>" for title, page in _ENTRY.findall(section)]
        if entries:
            made.append((caption, entries))
    made.append(("Reference", ["Modules, plugins and roles <reference/index>"]))
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(entries) + "\n```\n"
        for caption, entries in made
    )


def _read(_app: t.Any, page: str, source: list[str]) -> None:
    if page.startswith("reference/"):
        source[0] = _CONTENTS.sub("", source[0])
        return
    text = _LINK.sub(lambda match: _linked(page, match), source[0])
    source[0] = text + (_navigation(text) if page == "index" else "")


def setup(app: t.Any) -> None:
    """Have the pages changed as they are read: on GitHub they are as they are."""
    app.connect("source-read", _read)
