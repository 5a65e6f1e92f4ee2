# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filling a skeleton of elements with data. page.js does the same, with the same attributes, in a browser. No I/O.

data-text="key" puts text into an element, data-class="key" adds to its class, data-attr="name=key ..." sets attributes,
data-if="key" drops it where there is nothing, and data-each="key" repeats it for each item; an item that is a text has
the key "text". Values are only ever text: the serializer escapes them, and no value becomes an element.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

View = t.Mapping[str, t.Any]


def filled(node: ET.Element, view: View) -> ET.Element:
    """A copy of the skeleton with its values."""
    attributes = {name: value for name, value in node.attrib.items() if not name.startswith("data-")}
    added = view.get(node.attrib.get("data-class", ""))
    if added:
        attributes["class"] = f"{attributes.get('class', '')} {added}".strip()
    for pair in node.attrib.get("data-attr", "").split():
        name, _equals, key = pair.partition("=")
        attributes[name] = str(view.get(key, ""))
    copy = ET.Element(node.tag, attributes)
    copy.text = (node.text or "").strip("\n")
    if "data-text" in node.attrib:
        copy.text = str(view.get(node.attrib["data-text"]) or "")
    for child in node:
        for item in _items(child, view):
            made = filled(child, item)
            made.tail = (child.tail or "").strip("\n")
            copy.append(made)
    return copy


def _items(child: ET.Element, view: View) -> t.Iterator[View]:
    wanted = child.attrib.get("data-if")
    if wanted and not view.get(wanted):
        return
    each = child.attrib.get("data-each")
    if not each:
        yield view
        return
    for item in view.get(each) or ():
        yield item if isinstance(item, dict) else {"text": item}
