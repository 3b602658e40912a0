"""The only place where chance enters: generators seeded by what they are for, never shared."""

from random import Random

Dice = Random
"""A source of chance."""


def dice(seed: int, program: str, index: int = -1) -> Dice:
    """A generator for one sample of one program (or, without an index, for the program itself).

    Its stream depends on nothing else, so that the k-th sample of a program is the same under every policy and in
    every process, and policies can be compared pairwise.
    """
    return Dice(f"{seed}/{index}/{program}")
