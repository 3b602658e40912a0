"""What a finished sample answered, as a string that can be counted: equal strings are equal answers.

    messages     which part of a chat message is thought, and which is said
    kinds        what kind of answer a request asks for
    structured   tool calls and JSON in canonical form
    choices      the letter of a multiple-choice answer
    values       the value of an open answer: boxed, announced, or the final number
    spelling     LaTeX, Unicode and units reduced to one spelling
    lists        the members of tuples and sets
    numbers      exact numbers out of any spelling
    canonical    the canonical answer, and whether comparing strings is enough for it

All of it is pure, synchronous, standard library only, and linear in the length of the text. Expressions that need
algebra to be compared are left to `strategies.equivalence`.
"""

from strategies.answers.canonical import canonical, is_label, is_number, is_plain
from strategies.answers.extraction import extract
from strategies.answers.kinds import Kind, expected_kind
from strategies.answers.messages import split_reasoning

__all__ = ["Kind", "canonical", "expected_kind", "extract", "is_label", "is_number", "is_plain", "split_reasoning"]
