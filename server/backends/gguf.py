"""The header of a GGUF model file, as far as the gateway needs it.

Layout: github.com/ggml-org/ggml, docs/gguf.md. Little-endian files of version 2 and 3, which is what everybody writes.
"""

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

_SCALARS: Mapping[int, str] = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9
_LONGEST_STRING = 1 << 24


def _number(file: BinaryIO, kind: int) -> Any:
    layout = _SCALARS[kind]
    return struct.unpack(layout, file.read(struct.calcsize(layout)))[0]


def _skip_string(file: BinaryIO) -> int:
    """Length of a string, the file standing at its first byte; broken files announce absurd ones."""
    length: int = _number(file, 10)
    if length > _LONGEST_STRING:
        raise ValueError(f"a string of {length} bytes")
    return length


def _value(file: BinaryIO, kind: int) -> Any:
    """One metadata value: numbers are returned, strings and arrays skipped (None)."""
    if kind == _STRING:
        file.seek(_skip_string(file), os.SEEK_CUR)
        return None
    if kind != _ARRAY:
        return _number(file, kind)
    item, length = _number(file, 4), _number(file, 10)
    if item in _SCALARS:
        file.seek(length * struct.calcsize(_SCALARS[item]), os.SEEK_CUR)
        return None
    for _ in range(length):
        _value(file, item)
    return None


def context_length(path: Path) -> int | None:
    """The tokens that the model was trained for (`<architecture>.context_length`), None if the file does not say.

    Raises ValueError if the file is not GGUF or breaks off within its header, OSError if it cannot be read.
    """
    with path.open("rb") as file:
        try:
            magic, version, _tensors, pairs = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF" or version < 2:
                raise ValueError("no GGUF mark at its beginning")
            for _ in range(pairs):
                key = file.read(_skip_string(file))
                value = _value(file, _number(file, 4))
                if key.endswith(b".context_length"):
                    return int(value)
        except (struct.error, KeyError, OverflowError, RecursionError, OSError) as error:  # OSError: an absurd seek
            raise ValueError("its header breaks off") from error
    return None
