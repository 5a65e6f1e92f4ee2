"""How much of a table of cases a run takes: `NIGHTLY=1` for all combinations, otherwise a share that covers each row once."""

from __future__ import annotations

import os

NIGHTLY = os.environ.get("NIGHTLY", "") not in ("", "0")
