"""How much of a table of cases a run takes: all combinations with `NIGHTLY=1`, otherwise a share with each row once."""

from __future__ import annotations

import os

NIGHTLY = os.environ.get("NIGHTLY", "") not in ("", "0")
