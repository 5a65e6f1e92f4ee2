"""Print the slowest tests and the totals of the JUnit files in a folder. Usage: durations.py FOLDER [COUNT]."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main(folder: Path, count: int) -> None:
    slowest: list[tuple[float, str, str]] = []
    totals = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for path in sorted(folder.glob("*.xml")):
        for case in ET.parse(path).getroot().iter("testcase"):  # noqa: S314 - pytest has written it
            slowest.append((float(case.get("time", "0")), path.stem, f"{case.get('classname')}::{case.get('name')}"))
            kinds = {child.tag for child in case}
            failed = kinds & {"failure", "error"}
            totals["failed" if failed else "skipped" if "skipped" in kinds else "passed"] += 1
    for seconds, part, name in sorted(slowest, reverse=True)[:count]:
        print(f"{seconds:7.1f} s  {part}: {name}")
    print(", ".join(f"{number} {word}" for word, number in totals.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
