#!/usr/bin/env bash
# The unit tests as other collections run theirs: with the loader of ansible-test in place of a collection path.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
say "ansible-test units"
scripts/test/ansible-test.sh units --python "$(python -c 'import sys; print("{}.{}".format(*sys.version_info))')" "$@"
