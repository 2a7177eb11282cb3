#!/bin/sh
# Set-up in .venv: `setup.sh` installs what the program needs, `setup.sh dev` what its
# tests need too. Uses the package indexes that pip and uv are set to on this machine.
set -eu
cd "$(dirname "$0")/.."
extra=${1:-}

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! fits .venv/bin/python; then
    for python in ${PYTHON:-python3 python3.11 python3.12 python3.13 python}; do
        if fits "$python"; then break; fi
        python=
    done
    if [ -z "$python" ]; then
        echo "set-up: no Python 3.11 or later found; install one, or name it: make PYTHON=/path/to/python …" >&2
        exit 1
    fi
    if ! "$python" -m venv --clear .venv; then
        echo "set-up: $python cannot make a virtual environment (on Debian and Ubuntu: apt-get install python3-venv)" >&2
        exit 1
    fi
fi

. scripts/indexes.sh

# quotes keep ".[dev]" from being read as a file pattern
# compiled once here: where bytecode is not written, each start would compile anew
target=".${extra:+[$extra]}"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
if ! .venv/bin/uv pip install --compile-bytecode --python .venv/bin/python --constraint constraints.txt --editable "$target"; then
    echo "set-up: uv could not; trying pip, which is slower" >&2
    .venv/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable "$target"
fi

touch .venv/.ready ${extra:+".venv/.ready-$extra"}
