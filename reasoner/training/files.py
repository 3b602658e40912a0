"""Reading files that may be broken, or of something else; writing files whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Whatever a parser inside raises becomes a ValueError of one line that names the file, and what was to be in it.

    An OSError that names its file stays what it is, and so does a MemoryError.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        # A parser that seeks beyond the end of a torn file raises one without a name.
        if isinstance(error, OSError) and error.filename is not None:
            raise
        # Only a ValueError is about the value: what else garbage sets off says nothing of it, in many lines.
        reason = str(error).splitlines()[:1] if isinstance(error, ValueError) else []
        raise ValueError(": ".join([f"{path} is broken, or is not {what}", *reason])) from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which becomes `path` once it is whole and on disk: what was there before stays until then."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
