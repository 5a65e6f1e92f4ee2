"""Opens pages of the built site in a headless Chromium, and keeps pictures of them in build/site-pictures.

Usage: python -m scripts.docs.pictures [page...]    It fails for an error of a page, a request that leaves the
machine, and a page that is wider than the window.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.support import browser

ROOT = Path(__file__).resolve().parents[2]
SITE, PICTURES = ROOT / "build/site", ROOT / "build/site-pictures"
PAGES = ("index", "start", "concepts", "symptoms", "codes", "how-to/vpn-or-proxy", "mapping", "reference/index")
# (title, width, height, whether it is a phone, colours)
WINDOWS = (
    ("wide", 1400, 1000, False, "light"),
    ("dark", 1400, 1000, False, "dark"),
    ("phone", 400, 900, True, "light"),
)


def main(*pages: str) -> int:
    program = browser.program()
    if program is None:
        print("there is no Chromium here", file=sys.stderr)
        return 1
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as profile, browser.Browser(program, Path(profile)) as window:
        for title, width, height, phone, scheme in WINDOWS:
            window.size(width, height, phone)
            window.media(scheme=scheme)
            for page in pages or PAGES:
                window.open(SITE / f"{page}.html")
                window.picture(PICTURES / f"{page.replace('/', '-')}-{title}.png")
                if window.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"):
                    wrong.append(f"{page} is wider than a window of {width} pixels")
        wrong += window.errors
        wrong += [f"it asks for {url}" for url in window.requests if not url.startswith(("file:", "data:"))]
    print("\n".join(wrong) or f"pictures are in {PICTURES}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
