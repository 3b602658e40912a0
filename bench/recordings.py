"""`python -m bench.recordings`: what replays need of the demonstration models' recordings, as traces among the others.

Recordings (`reasoner/traces`) tell of each sample how sure it was and what it would have answered on the way. Replays
need answers, flags and tokens alone, and read all traces of `bench/traces`: a smaller file each, of the same samples.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoner.record import load, save, split_of_id

HOME = Path(__file__).parent
RECORDINGS = HOME.parent / "reasoner" / "traces"
MODELS = ("reasoner-small", "reasoner-large")
LINE = ("id", "task", "gold", "question", "bin", "model", "t")
SAMPLE = ("answer", "correct", "tokens")

Line = Mapping[str, Any]


def reported(folder: Path) -> dict[str, Sequence[Line]]:
    """By model: its held-out questions and the newcomer's; of several temperatures those recorded at the lowest."""
    found: dict[str, list[Line]] = {}
    for line in sorted(_held_out(folder), key=lambda line: float(line["t"])):
        own = found.setdefault(str(line["model"]), [])
        if not own or own[0]["t"] == line["t"]:
            own.append(line)
    return dict(found)


def _held_out(folder: Path) -> Iterator[Line]:
    for path in sorted(folder.glob("*.jsonl.gz")):
        yield from (line for line in load(path).values() if split_of_id(line["id"]) == "held-out")


def thinned(line: Line) -> dict[str, Any]:
    """A line without what replays do not read."""
    entries = [{name: sample[name] for name in SAMPLE} for sample in line["samples"]]
    greedy = {name: line["greedy"][name] for name in SAMPLE}
    return {name: line[name] for name in LINE if name in line} | {"greedy": greedy, "samples": entries}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.recordings", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=RECORDINGS, help="(default: reasoner/traces)")
    parser.add_argument("--out", type=Path, default=HOME / "traces", help="folder (default: bench/traces)")
    options = parser.parse_args()
    found = reported(options.folder)
    for model in MODELS:
        if model not in found:
            parser.error(f"{options.folder} has no recording of held-out questions by {model}")
        path = options.out / f"{model}.jsonl.gz"
        save(path, [thinned(line) for line in found[model]])
        print(f"{path}: {len(found[model])} questions, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
