"""`python -m sim TRACE...`: what early stopping saves on recorded samples, as a table."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from core.budget import Budget
from sim.replay import Figures, evaluate, fixed_majority, oracle, oracle_share
from sim.traces import load
from strategies.self_consistency import self_consistency

HEADER = f"{'rule':<22} {'accuracy':>8} {'tokens':>9} {'samples':>7} {'seconds':>8} {'saved':>7} {'of oracle gap':>13}"


def main() -> None:
    """Print one table per trace."""
    parser = ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("traces", nargs="+", type=Path)
    parser.add_argument("--cap", type=int, default=16, help="samples of the fixed budget")
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 8], help="samples in flight")
    parser.add_argument("--certainty", type=float, default=0.95)
    parser.add_argument("--orders", type=int, default=20, help="random orders per question")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for path in arguments.traces:
        print(f"\n{path.name.removesuffix('.jsonl.gz')}, cap {arguments.cap}, {arguments.orders} orders")
        print(HEADER)
        for row in table(path, arguments):
            print(row)


def table(path: Path, arguments: Namespace) -> Iterator[str]:
    """One line per rule, all on the same samples in the same orders."""
    trace, orders, seed = load(path), arguments.orders, arguments.seed
    budget = Budget(arguments.cap, certainty=arguments.certainty)
    width = max(arguments.widths)
    fixed = evaluate(trace, fixed_majority, budget, width=width, orders=orders, seed=seed)
    best = oracle(trace, cap=arguments.cap, orders=orders, seed=seed)
    single = evaluate(trace, fixed_majority, Budget(1), orders=orders, seed=seed)
    yield _line("one sample", single, fixed, None)
    yield _line(f"majority, {width} at once", fixed, fixed, best)
    for width in arguments.widths:
        found = evaluate(trace, self_consistency, budget, width=width, orders=orders, seed=seed)
        yield _line(f"adaptive, {width} at once", found, fixed, best)
    yield _line("oracle", best, fixed, best)


def _line(name: str, found: Figures, fixed: Figures, best: Figures | None) -> str:
    saved = 1 - found.tokens / fixed.tokens
    share = "" if best is None else f"{oracle_share(fixed.tokens, found.tokens, best.tokens):.1%}"
    return (
        f"{name:<22} {found.accuracy:>8.3f} {found.tokens:>9.1f} {found.samples:>7.2f} {found.seconds:>8.1f} "
        f"{saved:>7.1%} {share:>13}"
    )


if __name__ == "__main__":
    main()
