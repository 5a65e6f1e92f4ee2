# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports as files on the controller."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from .document import ForeignReportError, checked
from .findings import Data


def read(path: Path) -> Data:
    """An earlier report. Errors: OSError; ForeignReportError for a file that is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ForeignReportError(f"it is no JSON: {error}") from error
    return checked(content)


def as_json(report: Data) -> str:
    """The content of report.json: each finding and each host is one line, so that tools for lines serve as well."""
    parts = []
    for key, value in report.items():
        if key == "findings":
            inside = ",\n".join(f"  {_line(one)}" for one in value)
            parts.append(f' "findings": [\n{inside}\n ]' if value else ' "findings": []')
        elif key == "hosts":
            inside = ",\n".join(f"  {_line(host)}: {_line(told)}" for host, told in value.items())
            parts.append(f' "hosts": {{\n{inside}\n }}' if value else ' "hosts": {}')
        else:
            parts.append(f" {_line(key)}: {_line(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _line(value: t.Any) -> str:
    return json.dumps(value, ensure_ascii=False)
