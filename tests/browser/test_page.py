"""report.html in a browser that has no network."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES
from ansible_collections.netpath.egress.plugins.plugin_utils._diagnosis import history, page

from tests.support import browser, verdicts
from tests.support.browser import Browser

_PROGRAM = browser.program()
pytestmark = pytest.mark.skipif(_PROGRAM is None, reason=f"none of {', '.join(browser.PROGRAMS)} is installed")

PICTURES = Path(__file__).resolve().parents[2] / "build" / "browser"
HOSTILE = "</script><img src=x onerror=\"console.error('ran')\"><b>x</b>"
SHOWN = "[...document.querySelectorAll('.card')].map((card) => card.querySelector('h3').textContent.trim().slice(2))"
ROWS = (
    "[...document.querySelectorAll('#matrix tr')].filter((row) => !row.hidden).map((row) => row.cells[0].textContent)"
)


def small() -> dict[str, t.Any]:
    """Four hosts: two with something broken, one that is silent, one where nothing was sent."""
    return verdicts.answers(
        web1=[
            verdicts.path("c1", "FORWARDING_OFF", "NAT_MISSING"),
            verdicts.path("c1", family="ipv6"),
            verdicts.path("c2", "LOOPBACK_DOWN", number=3),
            verdicts.path("c2", family="ipv6", number=3),
        ],
        web2=[verdicts.path("c1"), verdicts.path("c2", "HOST_LINK_DOWN", family="ipv6", number=3)],
        web3="Failed to connect to the host via ssh: Connection timed out",
        web4=[verdicts.path("c1", status="unknown"), verdicts.path("c2", number=3)],
    )


@pytest.fixture
def chromium(tmp_path: Path) -> t.Iterator[Browser]:
    assert _PROGRAM is not None
    with Browser(_PROGRAM, tmp_path / "profile") as opened:
        opened.size(1280, 1500)
        opened.media()
        yield opened


def written(tmp_path: Path, hosts: t.Any, before: t.Any = None) -> Path:
    compared = history.compare(verdicts.report(before), hosts) if before else None
    path = tmp_path / "report.html"
    path.write_text(page.page(verdicts.report(hosts, history=compared)), encoding="utf-8")
    return path


def type_in(chromium: Browser, field: str, value: str) -> None:
    """As a person would, and wait until the page has answered."""
    chromium.evaluate(f"document.getElementById('count').textContent = ''; document.getElementById('{field}').focus()")
    if field == "search":
        chromium.evaluate("document.getElementById('search').select()")
        chromium.call("Input.insertText", text=value)
    else:
        chromium.evaluate(
            f"{{ const field = document.getElementById('{field}'); field.value = '{value}';"
            "field.dispatchEvent(new Event('input', {bubbles: true})); }"
        )
    chromium.until("document.getElementById('count').textContent !== ''")


def test_there_is_no_network() -> None:
    """The test's own network has nothing but a loopback."""
    routes = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    assert routes == []


def test_broken_hop_and_filter(chromium: Browser, tmp_path: Path) -> None:
    before = verdicts.answers(
        web1=[verdicts.path("c1"), verdicts.path("c2", "BRIDGE_DOWN")],
        web2=[verdicts.path("c1", "NAT_MISSING")],
    )
    chromium.open(written(tmp_path, small(), before))
    chromium.until("document.getElementById('count').textContent !== ''")
    names = ["web1 · c1 (IPv4)", "web2 · c2 (IPv6)", "web1 · c2 (IPv4)", "web4 · c1 (IPv4)"]
    assert chromium.evaluate(SHOWN) == names
    red = "document.querySelector('.card .station.broken')"
    assert "the host" in chromium.evaluate(f"{red}.textContent")
    assert "net.ipv4.ip_forward = 0" in chromium.evaluate(f"{red}.textContent")
    assert chromium.evaluate(f"getComputedStyle({red}.querySelector('rect')).stroke") == "rgb(194, 36, 48)"
    assert "run the role egress" in chromium.evaluate("document.querySelector('.card .finding').textContent")
    assert chromium.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    chromium.picture(PICTURES / "wide.png")

    type_in(chromium, "search", "web2")
    chromium.until(f"{SHOWN}.length === 2")
    assert chromium.evaluate(ROWS) == ["web2"]
    type_in(chromium, "search", "")
    type_in(chromium, "status", "degraded")
    chromium.until(f"{SHOWN}.join() === 'web1 · c2 (IPv4)'")
    type_in(chromium, "status", "")
    type_in(chromium, "code", "NAT_MISSING")
    chromium.until(f"{SHOWN}.join() === 'web1 · c1 (IPv4)'")
    type_in(chromium, "code", "")
    type_in(chromium, "search", "timed out")
    assert chromium.evaluate(ROWS) == ["web3"]
    assert chromium.evaluate("document.getElementById('count').textContent") == "0 of 8 paths, on 0 hosts"
    chromium.evaluate("document.querySelector('button[type=reset]').click()")
    chromium.until(f"{SHOWN}.length === 4")

    # A healthy path is drawn once it is asked for.
    chromium.evaluate("document.querySelector('#matrix a.ok').click()")
    chromium.until(f"{SHOWN}.length === 5")
    assert chromium.evaluate("document.activeElement.querySelectorAll('.station.ok').length") == 7
    assert chromium.errors == []
    assert [url for url in chromium.requests if not url.startswith("file:")] == []


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("phone", 390, "light"), ("phone-dark", 390, "dark"), ("dark", 1280, "dark")]
)
def test_sizes_and_schemes(chromium: Browser, tmp_path: Path, name: str, width: int, scheme: str) -> None:
    chromium.size(width, 1500, mobile=width < 600)
    chromium.media(scheme=scheme)
    chromium.open(written(tmp_path, small()))
    chromium.until("document.getElementById('count').textContent !== ''")
    assert chromium.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    light = chromium.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"
    assert light == (scheme == "light")
    if width < 600:
        chromium.evaluate("document.getElementById('paths').scrollIntoView()")
    chromium.picture(PICTURES / f"{name}.png")
    assert chromium.errors == []


def test_print(chromium: Browser, tmp_path: Path) -> None:
    chromium.open(written(tmp_path, small()))
    chromium.until("document.getElementById('count').textContent !== ''")
    chromium.media("print", "dark")
    assert chromium.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert chromium.evaluate("getComputedStyle(document.getElementById('filter')).display") == "none"
    assert chromium.evaluate("getComputedStyle(document.querySelector('.matrix')).maxHeight") == "none"
    chromium.picture(PICTURES / "print.png")
    chromium.printed(PICTURES / "print.pdf")


CARDS = "[...document.querySelectorAll('.card')].map((card) => [card.id, card.outerHTML])"


def all_kinds() -> dict[str, t.Any]:
    """Paths that are not healthy, each in another way, and some that no host of ours tells."""
    odd = verdicts.path("odd", "NAT_MISSING")
    odd["hops"] += [{"hop": "elsewhere", "status": "new"}, {"hop": "nat", "status": "ok", "evidence": "seen"}, "no hop"]
    odd["links"] += [{**odd["links"][1], "name": "x" * 40, "up": None, "mtu": None, "rx_dropped": 3, "tx_errors": 4}]
    odd["links"][0] |= {"up": False, "addresses": ["10.22.33.2/24", "fd00:22:33::2/64", "fd00:22:33::\U0001f600"]}
    bare = {"namespace": "bare", "family": "ipv4", "status": "unknown", "hops": None}
    degraded = [code for code, entry in CODES.items() if entry.degraded]
    return verdicts.answers(
        of_codes=[verdicts.path(f"c{number}", code, number=number) for number, code in enumerate(CODES, 2)],
        of_two=[verdicts.path("two", "FORWARDING_OFF", code, family="ipv6") for code in degraded],
        others=[verdicts.path("unknown", status="unknown"), odd, bare],
    )


def test_script_draws_the_same(chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each path as it is drawn in the file."""
    hosts = all_kinds()
    number = sum(len(answer["verdicts"]) for answer in hosts.values())
    drawn: list[dict[str, str]] = []
    for most in (number, 0):
        monkeypatch.setattr(page, "DRAWN", most)
        chromium.open(written(tmp_path, hosts))
        chromium.until("document.getElementById('count').textContent !== ''")
        for shown in range(100, number, 100):
            chromium.until(f"{SHOWN}.length === {shown} && !document.getElementById('more').hidden")
            chromium.evaluate("document.getElementById('more').click()")
        chromium.until(f"{SHOWN}.length === {number}")
        drawn.append(dict(chromium.evaluate(CARDS)))
    in_file, by_script = drawn
    assert sorted(in_file) == sorted(by_script)
    assert {name: parts_of(text) for name, text in in_file.items()} == {
        name: parts_of(text) for name, text in by_script.items()
    }
    assert chromium.errors == []


def parts_of(markup: str) -> list[tuple[str, list[str]]]:
    """The elements and texts of a card; in which order an element has its attributes does not matter."""
    found: list[tuple[str, list[str]]] = []
    for name, attributes, text in re.findall(r"<(/?\w+)([^>]*)>([^<]*)", markup):
        found.append((name, [*sorted(re.findall(r'[\w-]+="[^"]*"', attributes)), text.strip()]))
    return found


def test_without_a_script(chromium: Browser, tmp_path: Path) -> None:
    """The worst hundred are there all the same, with their drawings and texts."""
    hosts = verdicts.answers(**{f"h{number:03}": [verdicts.path("c1", "NAT_MISSING")] for number in range(130)})
    chromium.call("Emulation.setScriptExecutionDisabled", value=True)
    chromium.open(written(tmp_path, hosts))
    root = chromium.call("DOM.getDocument", depth=0)["root"]["nodeId"]
    for selector in (".card svg .station.broken", ".card .finding .fix"):
        found = chromium.call("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"]
        assert len(found) == page.DRAWN
    assert chromium.errors == []


def test_more_than_a_hundred(chromium: Browser, tmp_path: Path) -> None:
    hosts = verdicts.answers(**{f"h{number:03}": [verdicts.path("c1", "NAT_MISSING")] for number in range(130)})
    chromium.open(written(tmp_path, hosts))
    chromium.until("!document.getElementById('more').hidden")
    chromium.evaluate("document.getElementById('more').click()")
    chromium.until(f"{SHOWN}.length === 130 && document.getElementById('more').hidden")
    # What the script draws is what was drawn in the file.
    attributes = "[...one.attributes].map((a) => a.name + a.value).sort()"
    one = f"(one) => one.tagName + {attributes} + (one.children.length ? '' : one.textContent)"
    said = f"[...card.querySelectorAll('*')].map({one}).join('\\n').replace(/h\\d{{3}}/g, '')"
    first, drawn = chromium.evaluate(f"[...document.querySelectorAll('.card')].map((card) => {said})")[::129]
    assert "station broken" in first
    assert first == drawn
    assert chromium.errors == []


def test_foreign_text_stays_text(chromium: Browser, tmp_path: Path) -> None:
    wrong = verdicts.path("c1", "NAT_MISSING") | {"summary": HOSTILE, "network": HOSTILE}
    wrong["findings"][0] |= {"evidence": [HOSTILE], "fix": HOSTILE}
    wrong["links"][0] |= {"name": HOSTILE, "addresses": [HOSTILE]}
    hosts = verdicts.answers(**{HOSTILE: [wrong, verdicts.path(HOSTILE)]})
    chromium.open(written(tmp_path, hosts))
    chromium.until("document.getElementById('count').textContent !== ''")
    chromium.evaluate("document.querySelector('#matrix a.ok').click()")
    chromium.until(f"{SHOWN}.length === 2")
    assert chromium.evaluate("document.querySelectorAll('img, body > b, .card b b').length") == 0
    assert HOSTILE in chromium.evaluate("document.querySelector('.finding').textContent")
    assert chromium.errors == []


def test_fleet(chromium: Browser, tmp_path: Path) -> None:
    """Many paths open at once, and one of the last is found."""
    chromium.open(written(tmp_path, verdicts.fleet(300, 10)))
    chromium.until("document.getElementById('count').textContent !== ''")
    assert len(chromium.evaluate(ROWS)) == 300
    type_in(chromium, "search", "node0299 ns10 ipv6")
    chromium.until(f"{SHOWN}.join() === 'node0299 · ns10 (IPv6)'")
    assert chromium.evaluate(ROWS) == ["node0299"]
    assert chromium.errors == []
