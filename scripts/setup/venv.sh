#!/usr/bin/env bash
# Makes build/venv/NAME, a virtual environment for a program whose dependencies conflict with those of .venv, from
# requirements/NAME.txt, unless it exists already. Usage: venv.sh NAME
set -euo pipefail
. "$(dirname "$0")/../env.sh"
cd "$ROOT"
venv=build/venv/$1 requirements=requirements/$1.txt
wanted=$({ cat "$requirements" && pwd -P; } | sha256sum)
[ "$(cat "$venv/.stamp" 2>/dev/null)" != "$wanted" ] || exit 0
say "installing $requirements into $venv"
rm -rf "$venv"
python -m venv "$venv"
"$venv/bin/python" -m pip install -qq --require-hashes --requirement "$requirements"
echo "$wanted" >"$venv/.stamp"
