"""What the plan of an inventory tells: rows, overlaps, the table and the drawing."""

from __future__ import annotations

import json
import typing as t
import xml.etree.ElementTree as ET

import pytest
from ansible_collections.netpath.egress.plugins.action import plan_report
from ansible_collections.netpath.egress.plugins.plugin_utils._plan import document, drawing, overlaps, text

Data = dict[str, t.Any]
SVG = "{http://www.w3.org/2000/svg}"
PODS: Data = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["ns1", {"name": "ns2", "addresses": ["10.22.33.9/24"]}],
    "publish": [{"port": 8080, "to": "ns1:80"}, {"port": "30000-30001", "protocol": "udp", "to": "10.22.33.9"}],
}
HOSTILE = ['"><script>alert(1)</script>', "a&b<c>", "]]>", "x\x1b[31m\x00\u202e", "{{ 7 * 7 }}", "ä" * 500]


def plan(**hosts: t.Any) -> Data:
    return document.plan(hosts)


def shown(made: Data) -> list[str]:
    return [line.text for line in text.lines(made)]


def drawn(made: Data) -> ET.Element:
    return ET.fromstring(drawing.drawing(made))


def words(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_rows() -> None:
    rows = plan(web1=[PODS])["rows"]
    shared = {
        "host": "web1",
        "network": "pods",
        "bridge": "br0",
        "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
        "gateways": ["10.22.33.1", "fd00:22:33::1"],
        "uplinks": ["auto"],
        "nat": "masquerade",
    }
    ports = [("8080", "tcp", "10.22.33.2:80"), ("8080", "tcp", "[fd00:22:33::2]:80")]
    assert rows == [
        {
            **shared,
            "namespace": "ns1",
            "addresses": ["10.22.33.2/24", "fd00:22:33::2/64"],
            "published": [{"port": port, "protocol": protocol, "to": to} for port, protocol, to in ports],
        },
        {
            **shared,
            "namespace": "ns2",
            "addresses": ["10.22.33.9/24"],
            "published": [{"port": "30000-30001", "protocol": "udp", "to": "10.22.33.9"}],
        },
    ]


@pytest.mark.parametrize(
    ("options", "nat", "uplinks"),
    [
        ({"nat": "none"}, "none", ["auto"]),
        ({"firewall": "none"}, "none", ["auto"]),
        ({"nat": {"mode": "snat", "to_source": ["198.51.100.7"]}, "uplink": "eth7"}, "snat 198.51.100.7", ["eth7"]),
    ],
)
def test_uplink_and_translation(options: Data, nat: str, uplinks: list[str]) -> None:
    entry = {"name": "pods", "subnets": ["10.22.33.0/24"], **options}
    (row,) = plan(web1=[entry])["rows"]
    assert (row["namespace"], row["nat"], row["uplinks"]) == (None, nat, uplinks)


def test_table() -> None:
    lines = shown(plan(web1=[PODS], web2=[{**PODS, "state": "absent"}], web3=[]))
    assert lines[0].split() == [
        *("HOST", "NETWORK", "BRIDGE", "SUBNET", "GATEWAY", "NAMESPACE", "ADDRESSES", "PUBLISHED", "UPLINK", "NAT")
    ]
    assert lines[1].split()[-5:] == ["10.22.33.2/24,fd00:22:33::2/64", "tcp", "8080:80", "auto", "masquerade"]
    assert "udp 30000-30001" in lines[2]
    assert lines[3:5] == ["3 hosts, 1 network, 2 namespaces", "web2: the network pods is to be removed"]
    assert lines[-1] == document.NOTE
    assert "keeps the addresses that it has" in document.NOTE


def test_what_is_refused_is_told_of_each_host() -> None:
    wrong = [{**PODS, "mtu": "x"}, {"name": "B"}]
    made = plan(web1=wrong, web2=wrong, web3="its networks cannot be read: no", web4=[PODS])
    assert [len(errors) for errors in made["refused"].values()] == [3, 3, 1]
    assert list(made["refused"]) == ["web1", "web2", "web3"]
    assert len([line for line in shown(made) if line.startswith("REFUSED web")]) == 7
    assert made["refused"]["web1"][0] == "networks[0].mtu: 'x' is no MTU; allowed are auto and a number"
    assert {row["host"] for row in made["rows"]} == {"web4"}


def routed(*subnets: str, **options: t.Any) -> list[Data]:
    return [
        {"name": f"n{number}", "subnets": [subnet], "nat": "none", **options} for number, subnet in enumerate(subnets)
    ]


def test_same_subnet_without_nat() -> None:
    made = plan(**{f"web{number}": routed("10.22.33.0/24") for number in range(1, 6)})
    (warning,) = made["warnings"]
    assert warning.startswith("10.22.33.0/24 is used on 5 hosts without NAT (web1, web2, web3 and 2 more). ")
    assert f"WARNING: {warning}" in shown(made)


def test_overlap_of_routed_hosts() -> None:
    made = plan(a=routed("10.0.0.0/8", "fd00::/64"), b=routed("10.2.0.0/16", "11.0.0.0/8"), c=routed("10.2.3.0/24"))
    assert [warning.partition(",")[0] for warning in made["warnings"]] == [
        "10.2.0.0/16 (b) overlaps 10.0.0.0/8 (a)",
        "10.2.3.0/24 (c) overlaps 10.2.0.0/16 (b)",
    ]


def test_translated_networks_may_be_the_same() -> None:
    assert plan(a=[PODS], b=[PODS], c=routed("10.22.33.0/24"))["warnings"] == []
    assert plan(a=routed("10.0.0.0/25"), b=routed("10.0.0.128/25", "::ffff:0:0/120"))["warnings"] == []


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_text(name: str) -> None:
    made = plan(**{name: [PODS], "web": [{**PODS, "name": name}], "net": name})
    root = drawn(made)
    allowed = {"svg", "title", "style", "rect", "text", "path", "g"}
    assert {element.tag.replace(SVG, "") for element in root.iter()} == allowed
    assert all(not key.startswith("on") and "href" not in key for element in root.iter() for key in element.attrib)
    told = "\n".join([*shown(made), drawing.drawing(made), document.as_json(made)])
    assert not {"\x1b", "\x00", "\u202e"} & set(told)
    if name.isascii() and name.isprintable():
        assert name in words(root)


def test_drawing_of_three_hosts_has_all() -> None:
    three = [{**PODS, "namespaces": ["ns1", "ns2", "ns3"], "publish": []}]
    made = plan(web1=three, web2=three, web3=three)
    root = drawn(made)
    found = words(root)
    for word in ("web1", "web2", "web3", "internet", "10.22.33.2/24", "fd00:22:33::4/64", "masquerade", "br0"):
        assert word in found
    assert (found.count("ns1"), found.count("ns3"), found.count("br0")) == (3, 3, 3)
    assert document.NOTE in " ".join(found)
    assert_legible(root)


def assert_legible(root: ET.Element) -> None:
    """Boxes of one kind do not lie on each other, all is inside of the drawing, and texts are inside of their boxes."""
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    boxes: dict[str, list[tuple[int, ...]]] = {}
    for rect in root.iter(f"{SVG}rect"):
        if "x" in rect.attrib:
            left, top, wide, tall = (int(rect.attrib[key]) for key in ("x", "y", "width", "height"))
            assert 0 <= left < left + wide <= width
            assert 0 <= top < top + tall <= height
            boxes.setdefault(rect.attrib["class"], []).append((top, top + tall))
    for spans in boxes.values():
        assert all(before[1] <= after[0] for before, after in zip(sorted(spans), sorted(spans)[1:]))
    for element in root.iter(f"{SVG}text"):
        assert int(element.attrib["y"]) < height
        assert int(element.attrib["x"]) + 7.3 * len(element.text or "") <= width


def test_drawing_of_many_counts_the_rest() -> None:
    many = plan(web1=[{"name": "pods", "subnets": ["10.0.0.0/16"], "prefix": "n", "count": 1000}])
    root = drawn(many)
    found = words(root)
    assert "and 995 more" in found
    assert ("n5" in found, "n6" in found) == (True, False)
    assert "to 10.0.3.233/16" in found
    assert len(found) < 60
    assert_legible(root)
    assert "and 950 more" in " ".join(shown(many))
    assert len(json.loads(document.as_json(many))["rows"]) == 1000


def test_drawing_of_many_hosts_counts_the_rest() -> None:
    entry = {"name": "pods", "subnets": ["10.0.0.0/16"], "prefix": "n", "count": 50}
    networks = [{"name": f"n{number}", "subnets": [f"10.{number}.0.0/24"]} for number in range(1, 30)]
    root = drawn(plan(many=networks, **{f"web{number}": [entry] for number in range(999)}))
    assert "and 976 more hosts" in words(root)
    assert "and 21 more networks" in words(root)
    assert_legible(root)
    assert len(list(root.iter())) < 2500


def test_numbers_of_thousands_of_digits() -> None:
    for change in ({"mtu": "9" * 5000}, {"count": "9" * 5000, "prefix": "n"}, {"name": "n" + "9" * 5000}):
        made = plan(web1=[{**PODS, **change}], web2=[PODS])
        assert (list(made["refused"]), len(made["hosts"]["web2"]["networks"])) == (["web1"], 1)


@pytest.mark.parametrize("files", [True, False])
def test_whatever_one_host_has_the_others_are_shown(monkeypatch: pytest.MonkeyPatch, files: bool) -> None:
    """By a fault of the plan that nobody has thought of."""

    def failing(hosts: t.Any) -> list[str]:
        if any(one["name"] == "odd" for told in hosts.values() for one in told["networks"]):
            raise ZeroDivisionError("odd \x1b[2J")
        return overlaps.overlaps(hosts)

    monkeypatch.setattr(document, "overlaps", failing)
    made, lines, contents = plan_report._shown({"web1": [{**PODS, "name": "odd"}], "web2": [PODS]}, files)
    assert made["refused"] == {"web1": ["what it told cannot be used: ZeroDivisionError: odd \\x1b[2J"]}
    assert [row["host"] for row in made["rows"]] == ["web2", "web2"]
    assert any(line.text.startswith("REFUSED web1: ") for line in lines)
    assert sorted(contents) == (["plan.json", "plan.svg"] if files else [])
