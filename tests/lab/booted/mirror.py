"""Where debootstrap downloads from: the archive that apt uses on this machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
import typing as t

_FIELDS = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
_SCHEMES = ("http://", "https://", "file:")


def configured() -> str:
    """Return the URI of the Debian archive that apt is configured with, or "" if it is with none."""
    known = _archives()
    if known:
        return known[0]
    # The lists may have been deleted to save space. Read anew elsewhere, the machine's own stay as they are.
    with tempfile.TemporaryDirectory(prefix="lab-apt-") as directory:
        elsewhere = [f"Dir::State::Lists={directory}", f"Dir::Cache={directory}"]
        _apt("update", "-qq", elsewhere)
        return next(iter(_archives(elsewhere)), "")


def environment() -> dict[str, str]:
    """Return the environment for a download, with the proxy that apt uses if it has one of its own."""
    variables = dict(os.environ)
    shell = _run(["apt-config", "shell", "PROXY", "Acquire::http::Proxy"]).strip()
    if shell.startswith("PROXY='"):
        variables["http_proxy"] = shell[len("PROXY='") : -1]
    return variables


def _archives(settings: t.Sequence[str] = ()) -> list[str]:
    lines = _apt("indextargets", "--format", settings, _FIELDS, "Created-By: Packages").splitlines()
    parts = [line.split("|", 2) for line in lines if line.count("|") >= 2]
    return [uri for origin, label, uri in parts if origin == label == "Debian" and uri.startswith(_SCHEMES)]


def _apt(action: str, option: str, settings: t.Sequence[str], *arguments: str) -> str:
    chosen = [part for setting in settings for part in ("-o", setting)]
    return _run(["apt-get", *chosen, action, option, *arguments])


def _run(argv: t.Sequence[str]) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300).stdout
    except FileNotFoundError:
        return ""  # another distribution: debootstrap has a default
