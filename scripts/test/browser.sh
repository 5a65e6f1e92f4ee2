#!/usr/bin/env bash
# The HTML report in a headless Chromium, in a network of its own that leads nowhere. Pictures stay in build/browser.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
browser() { python -c 'from tests.support import browser; raise SystemExit(browser.program() is None)'; }
if ! browser && [ "$(id -u)" = 0 ]; then
    scripts/setup/apt.sh chromium || true
fi
if ! browser; then
    echo "SKIPPED: no Chromium here, and apt could not install one"
    exit "$SKIPPED"
fi
say "the report in a browser"
exec scripts/test/pytest.sh --private tests/browser "$@"
