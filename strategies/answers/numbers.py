"""Exact numbers out of the spellings that people and models use, and one spelling for each of them."""

import re
from fractions import Fraction

_LONGEST = 120
"""Characters: anything longer is not a number that anyone compares, and digits cost quadratic time."""

_DECIMALS = 6
"""Fractions that end within so many decimals are spelled as decimals (0.5), others as n/d."""

_PLAIN = re.compile(r"0|-?[1-9]\d{0,30}", re.ASCII)
_DIGITS = r"(?:[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{0,2}(?: \d{3})+|\d+)"
_UNSIGNED = rf"(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_SIGN = r"[+-]?"
_POWER = r"(?:[eE](?P<e>[+-]?\d{1,2})|(?: ?(?:\*|\\times|\\cdot) ?10\^(?:(?P<p>\d)|\{(?P<b>[+-]?\d{1,2})\})))"
_NUMBER = re.compile(rf"(?P<sign>{_SIGN}) ?(?P<n>{_UNSIGNED}){_POWER}?", re.ASCII)
_REPEATING = re.compile(rf"(?P<sign>{_SIGN}) ?(?P<n>\d*)\.(?P<d>\d*)\\(?:overline|bar|dot)\{{(?P<r>\d+)\}}", re.ASCII)
_RATIO = re.compile(
    rf"(?P<sign>{_SIGN}) ?(?:(?P<a>{_SIGN}{_UNSIGNED}) ?/ ?(?P<b>{_UNSIGNED})"
    rf"|\\frac\{{(?P<c>{_SIGN} ?{_UNSIGNED})\}}\{{(?P<d>{_SIGN} ?{_UNSIGNED})\}})",
    re.ASCII,
)
# "1 4/5", "1\frac{4}{5}": whole numbers all, and a proper fraction, or it would be a product.
_MIXED = re.compile(
    rf"(?P<sign>{_SIGN}) ?(?P<w>\d+) ?"
    rf"(?:(?<= )(?P<a>\d+) ?/ ?(?P<b>\d+)|\\frac\{{ ?(?P<c>\d+) ?\}}\{{ ?(?P<d>\d+) ?\}})",
    re.ASCII,
)


def canonical_number(text: str) -> str | None:
    """The canonical spelling of the number that `text` is, None if it is none: "1,000.0" and "1e3" give "1000"."""
    if _PLAIN.fullmatch(text):
        return text
    value = read_number(text)
    return None if value is None else spell(value)


def read_number(text: str) -> Fraction | None:
    """The exact value of a number: decimal, with thousands separators, scientific, ratio, mixed, or repeating.

    Expects single spaces and `\\frac{}{}` in full (see `strategies.answers.spelling`).
    """
    if not text or len(text) > _LONGEST:
        return None
    for form, reader in ((_NUMBER, _scaled), (_RATIO, _ratio), (_MIXED, _mixed), (_REPEATING, _repeating)):
        match = form.fullmatch(text)
        if match is not None:
            value = reader(match)
            return value if value is None or match["sign"] != "-" else -value
    return None


def spell(value: Fraction) -> str:
    """One spelling for each value: "3", "-0.25" (at most 6 decimals), else "n/d" in lowest terms."""
    whole = value * 10**_DECIMALS
    if value.denominator == 1:
        return str(value.numerator)
    if whole.denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(whole.numerator)).rjust(_DECIMALS + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-_DECIMALS]}.{digits[-_DECIMALS:].rstrip('0')}"


def _decimal(digits: str) -> Fraction:
    """A decimal with any separators: "1,000.5", ".5", "5."."""
    bare = digits.replace(",", "").replace(" ", "")
    whole, _, part = bare.partition(".")
    return Fraction(int(f"{whole}{part}"), 10 ** len(part))


def _scaled(match: re.Match[str]) -> Fraction:
    exponent = int(match["e"] or match["p"] or match["b"] or 0)
    value = _decimal(match["n"])
    return value * Fraction(10**exponent) if exponent >= 0 else value / Fraction(10**-exponent)


def _ratio(match: re.Match[str]) -> Fraction | None:
    above, below = (match["a"], match["b"]) if match["a"] else (match["c"], match["d"])
    divisor = _decimal(below)
    return _decimal(above) / divisor if divisor else None


def _mixed(match: re.Match[str]) -> Fraction | None:
    above, below = int(match["a"] or match["c"]), int(match["b"] or match["d"])
    return int(match["w"]) + Fraction(above, below) if above < below else None


def _repeating(match: re.Match[str]) -> Fraction:
    head, period = match["d"], match["r"]
    whole = int(f"{match['n'] or 0}{head}")
    return (whole + Fraction(int(period), 10 ** len(period) - 1)) / Fraction(10 ** len(head))
