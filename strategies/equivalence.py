"""Whether two mathematical answers are the same, by algebra: what string comparison cannot decide.

Stands on math-verify (Hugging Face), which parses LaTeX into sympy. Importing it takes a third of a second and a
comparison has no time limit of its own here (math-verify's stands on SIGALRM, which only a main thread may use), so
this belongs into a process that can be killed: see `server.answers`.
"""

import logging
import re

from strategies.answers import canonical, is_plain

_BASE = re.compile(r"_\{?(\d+)\}?$")
# 0.\overline{3}, which the parser takes for 0.
_REPEATING = re.compile(r"\\(?:overline|bar|dot)\s*\{\d")
_ARITHMETIC = re.compile(r"([\d\s.+*/()^-]*[+*/^-][\d\s.+*/()^-]*)=([^=]+)")


def equivalent(a: str, b: str) -> bool:
    """Whether two answers mean the same: equal canonical spelling, or equal by algebra. Symmetric; never raises.

    Numbers are equal when they agree to 6 decimals, as in math-verify. An arithmetic equation ("5+6=11") equals its
    result when it holds, and another equation only when it is spelled the same: "4*6=24" is not "20+4=24".
    """
    a, b = canonical(a), canonical(b)
    if a == b:
        return bool(a)
    if not a or not b or (is_plain(a) and is_plain(b)):
        return False
    if _bases_differ(a, b) or _misread(a) or _misread(b):
        return False
    sums = (_ARITHMETIC.fullmatch(a), _ARITHMETIC.fullmatch(b))
    if all(sums):
        return False
    for equation, other in zip(sums, (b, a), strict=True):
        if equation is not None:
            return _same(equation[1], equation[2]) and equivalent(equation[2], other)
    return _same(a, b)


def _misread(answer: str) -> bool:
    """Whether the parser would take something else for it: a repeating decimal, or a formula cut in the middle."""
    return answer.count("{") != answer.count("}") or bool(_REPEATING.search(answer))


def _bases_differ(a: str, b: str) -> bool:
    """Numbers in different bases: the parser drops the base, so that 52_8 would equal 52_9."""
    left, right = _BASE.search(a), _BASE.search(b)
    return left is not None and right is not None and left[1] != right[1]


def _same(a: str, b: str) -> bool:
    """math-verify's verdict in either direction: it follows the form of the answer that it takes for the reference."""
    from math_verify import verify  # noqa: PLC0415 - sympy is slow to import, and only formulas need it

    left, right = _parse(a), _parse(b)
    if not left or not right:
        return False
    return any(bool(verify(*pair, timeout_seconds=None)) for pair in ((left, right), (right, left)))


def _parse(answer: str) -> list[object]:
    """The parsed answer, an empty list if it is no formula that the parser knows."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse  # noqa: PLC0415 - as above

    # It warns once that time limits are off; keeping them is the caller's part.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    targets = [LatexExtractionConfig(boxed_match_priority=-1), ExprExtractionConfig()]
    return list(parse(f"${answer}$", targets, fallback_mode="no_fallback", parsing_timeout=None))
