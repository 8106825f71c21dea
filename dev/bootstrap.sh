#!/bin/sh
# Makes .venv from the lock file. Safe to run again; does nothing when the lock has not changed.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-}
want=$(cat requirements.lock pyproject.toml | sha256sum | cut -d ' ' -f 1)

if command -v flock >/dev/null; then
    exec 9<dev/bootstrap.sh  # two makes at once: the second waits, and finds all done
    flock 9
fi

say() { printf '== %s\n' "$1"; }

supported() { command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))'; }

if [ -z "$python" ]; then
    python=python3
    if supported /usr/bin/python3; then
        python=/usr/bin/python3  # as in the images that tests build; others are often built without optimisations
    fi
fi

if [ -f .venv/ready ] && [ "$(cat .venv/ready)" = "$want" ]; then
    touch .venv/ready  # newer than the lock again, so that make is content
    exit 0
fi

if ! command -v "$python" >/dev/null; then
    echo "error: $python was not found; install Python 3.11 or newer, or say PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! supported "$python"; then
    echo "error: $("$python" -V) is not supported; globaltx needs Python 3.11 to 3.14 (say PYTHON=...)" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing python3-venv"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv
    else
        echo "error: $python has no venv module; install it (Debian: apt-get install python3-venv)" >&2
        exit 1
    fi
fi

say "making .venv with $("$python" -V), $python (half a minute)"
rm -rf .venv
"$python" -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
echo "$want" >.venv/ready
say ".venv is ready"
