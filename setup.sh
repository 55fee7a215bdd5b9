#!/bin/sh
# Sets up .venv from requirements.lock: pinned, every download checked against its hash. Called by make; safe to run again.
set -eu
cd "$(dirname "$0")"

python=""
for candidate in python3.11 python3.12 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup: no Python 3.11 or 3.12 found; on Debian: apt-get install python3 python3-venv" >&2
    exit 1
fi

if [ -e .venv ] && [ ! -x .venv/bin/pip ]; then
    echo "setup: .venv is there, but has no pip (was it made by another tool?); remove it with 'rm -rf .venv' and try again" >&2
    exit 1
fi
if [ ! -e .venv ]; then
    if ! "$python" -m venv .venv >/dev/null 2>&1; then
        # Debian ships venv without its pip part; python3-venv brings it
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            echo "setup: installing Debian's python3-venv"
            apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
            rm -rf .venv
            "$python" -m venv .venv
        else
            rm -rf .venv # half made
            echo "setup: '$python -m venv' does not work here; on Debian: sudo apt-get install python3-venv" >&2
            exit 1
        fi
    fi
fi

# One package's lines of the lock, with its hashes.
locked() { awk -v name="^$1==" '/^[a-z0-9]/ {on = $0 ~ name} on' requirements.lock; }

echo "setup: installing $(grep -c '^[a-z0-9].*==' requirements.lock) locked packages"
if [ ! -x .venv/bin/uv ]; then # installs the rest ten times faster than pip does
    locked uv >.venv/uv.lock
    .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
fi
export VIRTUAL_ENV="$PWD/.venv"
# compiled now, once: without it MLflow takes 40 s to start instead of 9
.venv/bin/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
# xds-protos ships an old copy of opentelemetry/proto, without what MLflow needs; whichever is installed last wins
locked opentelemetry-proto >.venv/proto.lock
.venv/bin/uv pip install --quiet --compile-bytecode --require-hashes --no-deps --reinstall -r .venv/proto.lock
.venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
touch .venv/.ready
echo "setup: done"
