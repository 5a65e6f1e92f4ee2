#!/usr/bin/env bash
# Prints "VERSION INTERPRETER" of each named version of Python that is installed and can make environments. A version manager's
# own folders are asked, as its wrappers on PATH may lead nowhere. Usage: pythons.sh 3.9 3.10...
set -euo pipefail
. "$(dirname "$0")/../env.sh"
shopt -s nullglob
for folder in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin; do
    PATH+=:$folder
done
for version in "$@"; do
    "python$version" -c 'import sys, venv, ensurepip; print("{}.{}".format(*sys.version_info), sys.executable)' 2>/dev/null || true
done
