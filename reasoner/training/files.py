"""Reading files that may be broken, or of something else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
