#!/usr/bin/env bash
# What `make test` runs: ruff, mypy, pytest on a virtual display. Pytest's closing line comes last.
#   tools/test.sh --lint           ruff and mypy only
#   tools/test.sh [PYTEST ARGS]    e.g. tools/test.sh tests/kernels -k gradcheck
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

"$bin/ruff" check --quiet .
"$bin/ruff" format --check --quiet . || { echo "ruff format: run 'make format'." >&2; exit 1; }
"$bin/mypy"
if [[ ${1:-} == --lint ]]; then exit; fi

# Software GL on displays of their own: the same on every machine, and no window pops up.
export LIBGL_ALWAYS_SOFTWARE=1 QT_QPA_PLATFORM=xcb
unset WAYLAND_DISPLAY QT_SCALE_FACTOR
run=()
if command -v xvfb-run >/dev/null; then
    if [[ $# == 0 ]]; then  # the whole suite: two side by side, each with its display
        exec "$bin/python" -m pytest --numprocesses 2 --dist loadfile
    fi
    run=(xvfb-run --auto-servernum --server-args "-screen 0 1280x1024x24")
fi
exec "${run[@]}" "$bin/python" -m pytest "$@"
