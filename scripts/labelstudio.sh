#!/bin/sh
# Label Studio's server in an environment of its own, below the cache folder
# (COUNTERSET_CACHE, else ~/.cache/counterset); prints where it is. Needs .venv.
set -eu
cd "$(dirname "$0")/.."
version=1.23.2
cache=${COUNTERSET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/counterset}
home=$cache/label-studio-$version

if [ ! -e "$home/.ready" ]; then
    . scripts/indexes.sh
    echo "label-studio $version: installing in $home" >&2
    mkdir -p "$cache"
    rm -rf "$home"
    .venv/bin/uv venv --quiet --python .venv/bin/python "$home"
    # compiled once here: its first start would take a minute longer
    .venv/bin/uv pip install --quiet --compile-bytecode --python "$home/bin/python" "label-studio==$version"
    touch "$home/.ready"
fi
echo "$home"
