#!/usr/bin/env bash
# Brings a fresh Debian or Ubuntu to where `make explore` and `make test` run; quick when it is.
#   1. system libraries that Qt, OpenGL and the tests need: by apt, and only those that are missing
#      (tools/setup.sh COMMAND... asks for further commands, whose packages have their names)
#   2. .venv with the versions in constraints.txt, and this repository as an editable install
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# --- 1. system libraries -----------------------------------------------------------------------
# What must be found (a shared library, or a command) and the Debian package that brings it.
NEEDED="
libEGL.so.1 libegl1
libEGL_mesa.so.0 libegl-mesa0
libGL.so.1 libgl1
libGLX_mesa.so.0 libglx-mesa0
libOpenGL.so.0 libopengl0
libX11-xcb.so.1 libx11-xcb1
libXrender.so.1 libxrender1
libxkbcommon.so.0 libxkbcommon0
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libxcb-cursor.so.0 libxcb-cursor0
libxcb-glx.so.0 libxcb-glx0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-image.so.0 libxcb-image0
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-randr.so.0 libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0 libxcb-shape0
libxcb-shm.so.0 libxcb-shm0
libxcb-sync.so.1 libxcb-sync1
libxcb-xfixes.so.0 libxcb-xfixes0
libxcb-xkb.so.1 libxcb-xkb1
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libglib-2.0.so.0 libglib2.0-0
libwayland-client.so.0 libwayland-client0
libwayland-cursor.so.0 libwayland-cursor0
libwayland-egl.so.1 libwayland-egl1
xvfb-run xvfb
xauth xauth
$(for command in "$@"; do printf '%s %s\n' "$command" "$command"; done)
"

# Prints the packages of NEEDED that this machine lacks, and python3-venv where Python has no pip.
missing_packages() {
    local known probe package
    known=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p)
    while read -r probe package; do
        [[ -z $probe ]] && continue
        if [[ $probe == *.so.* ]]; then
            [[ $known == *"$probe "* ]] || printf '%s\n' "$package"
        else
            command -v "$probe" >/dev/null || printf '%s\n' "$package"
        fi
    done <<<"$NEEDED"
    [[ -d /usr/share/fonts && -n $(find /usr/share/fonts -name '*.ttf' -print -quit) ]] ||
        printf 'fonts-dejavu-core\n'
    if [[ ! -x .venv/bin/python ]]; then
        local python
        if ! python=$(find_python); then
            printf 'python3-venv\n'
        elif ! has_venv "$python"; then
            "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
        fi
    fi
}

install_packages() {
    local sudo=()
    if ! command -v apt-get >/dev/null; then
        say "these are missing, under their Debian names: $*."
        fail "There is no apt here: install your system's packages of them, then run make again."
    fi
    if [[ $(id -u) != 0 ]]; then
        command -v sudo >/dev/null || fail "these packages are missing, and there is neither root nor \
sudo here. Ask an administrator for: apt-get install $*"
        sudo=(sudo)
    fi
    say "installing system packages: $*"
    # An index that is a little old, or one dead mirror, need not stop us: install decides.
    "${sudo[@]}" apt-get update -qq || say "apt-get update failed; trying with the index at hand."
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "$@" >&2 </dev/null || fail "apt-get could not install: $*. Its message is above."
}

# --- 2. the virtual environment ----------------------------------------------------------------
in_range() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# The Python to use: $PYTHON if given, else the first in range that can make environments.
find_python() {
    local candidate fallback=
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        command -v "$candidate" >/dev/null && in_range "$candidate" || continue
        if has_venv "$candidate"; then
            command -v "$candidate"
            return
        fi
        fallback=${fallback:-$(command -v "$candidate")}
    done
    [[ -n $fallback ]] && printf '%s\n' "$fallback"
}

stamp() { { cat pyproject.toml constraints.txt tools/setup.sh; pwd; } | cksum; }

make_venv() {
    local python
    python=$(find_python) || fail "Python 3.11, 3.12 or 3.13 is needed, got \
$(python3 --version 2>/dev/null || echo none). Install one, or name it: make setup PYTHON=/path/to/python3.12"
    if [[ ! -x .venv/bin/python ]] || ! in_range .venv/bin/python ||
        [[ $(.venv/bin/python -c 'import sys; print(sys.prefix)') != "$PWD/.venv" ]] ||
        ! grep -qsF "$PWD/.venv/bin/" .venv/bin/pip; then  # made in another folder, then moved
        say "creating .venv with $("$python" --version) ($python)"
        rm -rf .venv
        "$python" -m venv .venv
    fi
    say "installing the packages of constraints.txt (minutes the first time)"
    local pip=(.venv/bin/python -m pip --disable-pip-version-check --no-input install --quiet
        --constraint constraints.txt)
    "${pip[@]}" pip setuptools
    "${pip[@]}" --quiet --no-build-isolation --editable '.[dev]'
    .venv/bin/python -m pip check >/dev/null || say "pip check has remarks: run .venv/bin/pip check"
}

if [[ $(uname -s) == Linux ]]; then
    mapfile -t packages < <(missing_packages)
    if ((${#packages[@]})); then install_packages "${packages[@]}"; fi
fi
if [[ $(cat .venv/stamp 2>/dev/null) != "$(stamp)" ]]; then
    make_venv
    stamp >.venv/stamp
    say "ready"
fi
