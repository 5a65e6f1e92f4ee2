#!/usr/bin/env bash
# Run before a release, and after adding a module, a role or a fragment to the version that is being written.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
# It needs the real path of a collection, not a checkout with any name.
cd "$PYTHONPATH/ansible_collections/netpath/egress"
antsibull-changelog release --update-existing --reload-plugins --refresh
