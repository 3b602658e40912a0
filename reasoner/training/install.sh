#!/usr/bin/env bash
# Make the environment in which the demonstration models are trained: the `reasoner` extra, and what its tests need.
#
#   reasoner/training/install.sh [VENV]      VENV is .venv-reasoner in the project root unless said otherwise
#
# PYTHON=... picks the interpreter (3.11 or newer); otherwise it is the one of the project's .venv, or python3.
#
# Takes a minute or two, 300 MB of downloads and 1.3 GB of disk. Does nothing where the environment is up to date.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${1:-$root/.venv-reasoner}
python=${PYTHON:-$root/.venv/bin/python}
[ -x "$python" ] || command -v "$python" >/dev/null || python=python3
# The CPU build. PyPI's own torch is the CUDA build: it would do, at several times the size.
torch=torch==2.13.0+cpu
torch_index=https://download.pytorch.org/whl/cpu
# What the suite's own settings name (pyproject.toml, tests/conftest.py), and what the rest of this package speaks HTTP with.
for_tests='^(pytest|hypothesis|httpx>)'

# Names the packages of the extras: one requirement a line.
requirements() {
    "$python" - "$root/pyproject.toml" "$for_tests" <<'PY'
import re, sys, tomllib

extras = tomllib.load(open(sys.argv[1], "rb"))["project"]["optional-dependencies"]
tests = [line for line in extras["dev"] + extras["bench"] if re.match(sys.argv[2], line)]
print("\n".join([*extras["reasoner"], *tests, *extras["embedded"]]))
PY
}

pip_install() {
    "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@"
}

# From whatever pip is configured with (an index or a folder of wheels), else from PyTorch's own index, else CUDA's build.
install_torch() {
    pip_install --only-binary :all: "$torch" 2>/dev/null ||
        pip_install --only-binary :all: --extra-index-url "$torch_index" "$torch" 2>/dev/null ||
        echo "install.sh: no $torch to be had; PyPI's torch it is" >&2
}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "install.sh: '$python' is older than Python 3.11 (set PYTHON=/path/to/python3.x)" >&2; exit 2; }
wanted=$(requirements)
stamp=$(printf '%s\n' "$torch" "$wanted" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$venv/.installed" 2>/dev/null)" = "$stamp" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
    echo "install.sh: $venv exists and is not a virtual environment; not touching it" >&2
    exit 2
fi
echo "Installing PyTorch and what belongs to it into $venv (a minute or two)"
"$python" -m venv --clear "$venv"
install_torch
printf '%s\n' "$wanted" >"$venv/requirements.txt"
pip_install -r "$venv/requirements.txt"
echo "$stamp" >"$venv/.installed"
