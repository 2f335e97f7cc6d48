#!/bin/sh
# Installs the Node peers of the tests in target/node, as locked; does nothing when it is up to date.
set -eu
cd "$(dirname "$0")/.."
folder="${CARGO_TARGET_DIR:-target}/node"
# Several test programs may ask at once: one installs, the others wait and find it done.
mkdir -p "$folder"
exec 9>"$folder.lock"
flock 9
cp tests/node/*.js "$folder/"
if cmp -s tests/node/package-lock.json "$folder/node_modules/.locked"; then
    exit 0
fi
cp tests/node/package.json tests/node/package-lock.json "$folder/"
npm ci --prefix "$folder" --silent --no-audit --no-fund --ignore-scripts
cp tests/node/package-lock.json "$folder/node_modules/.locked"
