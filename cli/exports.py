"""Records as files, and the libraries that only some of them need."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sim.records import Record


class MissingLibrary(Exception):
    """An optional library is not installed; the message says how to get it."""


def optional(module: str, option: str, extra: str) -> ModuleType:
    """Import what an option needs. Raises `MissingLibrary`, naming option and extra, if it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise MissingLibrary(f"{option} needs {library}: pip install 'quorate[{extra}]'.") from error


def pyarrow() -> tuple[ModuleType, ModuleType]:
    """The library behind `--parquet`, and its module for the format."""
    return optional("pyarrow", "--parquet", "parquet"), optional("pyarrow.parquet", "--parquet", "parquet")


def matplotlib() -> ModuleType:
    """The module of the figures behind `--plots`."""
    return optional("matplotlib.figure", "--plots", "bench")


def ticker() -> ModuleType:
    """Its module of the axes' ticks."""
    return optional("matplotlib.ticker", "--plots", "bench")


def write_json(records: Sequence[Record], path: Path) -> None:
    """A list of objects. Raises `OSError`."""
    rows = [record.row() for record in records]
    path.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_parquet(records: Sequence[Record], path: Path) -> None:
    """One column per field. Raises `MissingLibrary` without pyarrow, and `OSError`."""
    library, parquet = pyarrow()
    parquet.write_table(library.Table.from_pylist([dict(record.row()) for record in records]), path)
