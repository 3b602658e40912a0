"""Which version runs."""

from importlib import metadata


def version() -> str:
    """The installed version; `unknown` when run from a bare folder."""
    try:
        return metadata.version("quorate")
    except metadata.PackageNotFoundError:
        return "unknown"
