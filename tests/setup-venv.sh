#!/bin/sh
# Makes target/venv for the Python peers of the tests; does nothing when it is up to date.
set -eu
cd "$(dirname "$0")/.."
venv="${CARGO_TARGET_DIR:-target}/venv"
stamp="$venv/requirements.txt"
if cmp -s tests/requirements.txt "$stamp"; then
    exit 0
fi
# Several test programs may ask at once: one makes it, the others wait and find it made.
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
if cmp -s tests/requirements.txt "$stamp"; then
    exit 0
fi
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
cp tests/requirements.txt "$stamp"
