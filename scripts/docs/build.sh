#!/usr/bin/env bash
# Checks the links of the documentation, and builds it as a site in build/site. Warnings are errors.
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
source=$ROOT/build/site-source site=$ROOT/build/site
say "links and anchors of the Markdown"
mkdir -p build
python scripts/docs/links.py "$ROOT" build/external-links.txt

scripts/setup/venv.sh docs
export PATH="$ROOT/build/venv/docs/bin:$PATH"
rm -rf "$source" "$site"
cp -r docs "$source"
# antsibull-docs writes only to a directory that its owner alone may change.
mkdir -m 755 "$source/reference"
say "the reference, from what modules, plugins and roles tell of themselves"
antsibull-docs --config-file scripts/docs/antsibull-docs.cfg \
    collection --use-current --squash-hierarchy --fail-on-error --dest-dir "$source/reference" netpath.egress
say "the site"
sphinx-build --fail-on-warning --keep-going --nitpicky --quiet --builder html \
    --conf-dir scripts/docs --doctree-dir build/site-doctrees "$source" "$site"
say "build/site/index.html"
