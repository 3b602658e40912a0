"""`python -m bench`: accuracy against tokens on the embedded engine and the demonstration model."""

import argparse
import asyncio
import json
from dataclasses import asdict
from pathlib import Path

from bench import quality
from bench.gateway import serving

RESULTS = Path(__file__).parent / "results"
SHORT = 3


async def measure(arguments: argparse.Namespace) -> None:
    """Run, print the tables, keep the rows."""
    per_bin = arguments.per_bin or (SHORT if arguments.short else None)
    if arguments.base_url:
        rows = await quality.run(arguments.base_url, arguments.model, per_bin=per_bin)
    else:
        async with serving() as base_url:
            rows = await quality.run(base_url, arguments.model, per_bin=per_bin)
    questions = len({row.question for row in rows})
    print(f"\n{arguments.model}, {questions} held-out questions, temperature {quality.TEMPERATURE:g}\n")
    print(quality.table(quality.summarise(rows)), "\n")
    print(quality.bins_table(rows))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    print(f"\nrows: {arguments.out}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"{SHORT} questions a bin at most")
    parser.add_argument("--per-bin", type=int, help="questions a bin, at most (default: as many as is standard)")
    parser.add_argument("--model", default="reasoner-small")
    parser.add_argument("--base-url", help="measure this gateway instead of starting the demonstration")
    parser.add_argument("--out", type=Path, default=RESULTS / "quality.json")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
