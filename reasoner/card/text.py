"""Text files that are written whole or not at all."""

from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write a file; what was there before stays until the new one is complete."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
