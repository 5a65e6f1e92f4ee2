#!/usr/bin/env bash
# Makes build/NAME, an environment of its own for a program whose dependencies would not go with those of .venv, from
# requirements-NAME.txt, unless it is there already. Usage: venv.sh NAME
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"
venv=build/$1 requirements=requirements-$1.txt
wanted=$({ cat "$requirements" && pwd -P; } | sha256sum)
[ "$(cat "$venv/.stamp" 2>/dev/null)" != "$wanted" ] || exit 0
say "installing $requirements into $venv"
rm -rf "$venv"
python -m venv "$venv"
"$venv/bin/python" -m pip install -qq --requirement "$requirements"
echo "$wanted" >"$venv/.stamp"
