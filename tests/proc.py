"""What Linux tells of processes."""

from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def children(pid: int, named: str) -> set[int]:
    """Child processes of a process in whose command line this stands, zombies left out."""
    found = set()
    for task in (PROC / str(pid) / "task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                if named in (PROC / child / "cmdline").read_text():
                    found.add(int(child))
    return found


def stat(pid: int) -> list[str]:
    """The fields of a process from its state on (proc(5), from field 3). OSError if it is gone."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
