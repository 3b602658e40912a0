"""LaTeX, Unicode, currency and markdown cosmetics reduced to one spelling; units taken off numbers.

The rules change how a thing is written, not what it says. Three are conventions of answer checking rather than
mathematics: a unit, a currency sign, a degree sign and a percent sign are taken off, because in the answers to one
question they are either the same or forgotten.
"""

import re
from collections.abc import Iterable
from types import MappingProxyType

from strategies.answers.numbers import read_number, spell

Rules = tuple[tuple[re.Pattern[str], str], ...]


def _rules(*pairs: tuple[str, str]) -> Rules:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


_SUPERSCRIPTS = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f\u2007\u2002\u2003\u200a\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
        **dict.fromkeys("\u00d7\u22c5\u00b7\u2217\u2219", "*"),
        **dict.fromkeys("\u00f7\u2044\u2215", "/"),
        **dict.fromkeys("$\u20ac\u00a3\u00a5\u20b9\u20bd\u20a9", ""),
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
        **{mark: f"^{digit}" for digit, mark in enumerate(_SUPERSCRIPTS)},
        "\u00bd": " 1/2", "\u2153": " 1/3", "\u2154": " 2/3", "\u00bc": " 1/4", "\u00be": " 3/4",
        "\u03c0": "\\pi ", "\u221e": "\\infty ", "\u03b8": "\\theta ", "\u221a": "\\sqrt ", "\u2264": "\\le ",
        "\u2265": "\\ge ", "\u2260": "\\ne ", "\u2208": "\\in ", "\u222a": "\\cup ", "\u2229": "\\cap ",
        "\u00b1": "\\pm ", "\u2248": "\\approx ", "\u00b0": "\\degree ",
        "\uff0c": ",", "\u3001": ",", "\u3002": ".", "\uff1a": ":",
        "\uff1d": "=", "\uff08": "(", "\uff09": ")", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"',
        "\u2032": "'",
    }
)  # fmt: skip

_GROUP = r"\{([^{}]*)\}"
_END = r"(?![a-zA-Z])"
_LATEX = _rules(
    (r",\\! ?", ","),
    (r"\\!", ""),
    (rf"(?<!\\)\\(?:[,;:> ]|(?:q?quad|thinspace|displaystyle|textstyle|limits){_END})", " "),
    (rf"\\(?:(?:left|right){_END}\.?|[bB]igg?[lrm]?{_END})", ""),
    (r"(?<!\\)\\[()\[\]]", ""),
    (rf"\\(?:text|mbox|hbox|textrm|textnormal) ?{_GROUP}", r" \1 "),
    (rf"\\(?:math(?:rm|bf|it|sf)|text(?:bf|it)|boldsymbol|bm|emph|boxed|fbox|underline) ?{_GROUP}", r"\1"),
    (rf"(?:\^ ?(?:\{{ ?\\circ ?\}}|\\circ{_END})|\\degree{_END})(?: ?[CF]{_END})?", ""),
    (rf"\\[dtc]frac{_END}", r"\\frac"),
    (r"\\frac ?([0-9a-zA-Z]) ?([0-9a-zA-Z])", r"\\frac{\1}{\2}"),
    (r"\\frac ?([0-9a-zA-Z]) ?\{", r"\\frac{\1}{"),
    (rf"\\frac ?{_GROUP} ?([0-9a-zA-Z])", r"\\frac{\1}{\2}"),
    (rf"\\frac ?{_GROUP} ?\{{", r"\\frac{\1}{"),
    (r"\\sqrt ?(\d+|[a-zA-Z])", r"\\sqrt{\1}"),
    (r"\\sqrt ?\(([^(){}]*)\)", r"\\sqrt{\1}"),
    (rf"\\(?:times|cdot|ast){_END}", "*"),
    (rf"\\([lgn])eq{_END}", r"\\\1e"),
    (rf"^ ?\\(?:approx|simeq|sim){_END}", ""),
)
_ANYWHERE = _rules(
    (r"[\s~]+", " "),
    (r"%", ""),
    (r"\{,\} ?", ","),
    (r"(?<![\\a-zA-Z])sqrt ?\(([^(){}]*)\)", r"\\sqrt{\1}"),
    (rf"(?<![\\a-zA-Z])(?:infinity|inf){_END}", r"\\infty"),
    (rf"(?<![\\a-zA-Z])pi{_END}", r"\\pi"),
    (r"<=", r"\\le "),
    (r">=", r"\\ge "),
    (r"([\^_])\{ ?(\w) ?\}(?![0-9])", r"\1\2"),
    (
        r"^ ?(?:(?:approximately|approx\.?|about|around|roughly|exactly|equals?|equal to|only|just|simply"
        r"|US|USD|EUR|GBP|INR|Rs\.?)(?![a-zA-Z]) ?)+(?=[-+.\d\\(])",
        "",
    ),
    (r" {2,}", " "),
)

_NUMBER_AND_REST = re.compile(
    r"(?P<number>[-+]? ?(?:[\d.,/ ]|\\frac\{[-\d.,]+\}\{[-\d.,]+\}|\*10\^\{?-?\d+\}?)+)(?P<rest>.*)"
)
_UNIT_WORD = r"[a-zA-Z\u00b5\u03a9'.-]+(?: ?\^\{?-?\d\}?)?"
_UNIT = re.compile(rf"{_UNIT_WORD}(?: ?[/* ] ?{_UNIT_WORD}){{0,8}}")
# Units that are written without a space, and single letters that are units rather than variables after one.
_ATTACHED = frozenset(
    "cm mm km kg mg ml lb lbs ft mph kmh km/h m/s hr hrs min mins sec secs ms am pm st nd rd th cents".split()
)
_LETTERS = frozenset("m g s h L".split())
# Words after a number that change its value, or make an expression of it.
_NOT_UNITS = frozenset(
    "half halves quarter quarters third thirds dozen mod times plus minus over choose squared cubed and or to by "
    "pi infty sqrt sin cos tan sec csc cot log ln exp arcsin arccos arctan sinh cosh tanh gcd "
    "lcm max min det if when".split()
)
_SCALES = MappingProxyType(
    {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
)


def respell(text: str) -> str:
    """One spelling of an answer: cosmetics gone, single spaces, outer markup and punctuation stripped."""
    text = trim(text.replace("\\$", "").replace("\\%", "").translate(_CHARACTERS))
    if "\\" in text:
        text = _apply(_LATEX, text)
    return trim(_apply(_ANYWHERE, text))


def trim(text: str) -> str:
    """Without surrounding white space, markdown emphasis, quotes, and the punctuation that ends a sentence."""
    return text.strip(' \t\r\n*_`"').lstrip("=:,;").rstrip(".,:;?").strip(' \t\r\n*_`"')


def take_unit_off(text: str) -> str:
    """The number alone, where `text` is one with a unit ("5.4 cents", "15 cm^2"); `text` itself otherwise."""
    match = _NUMBER_AND_REST.fullmatch(text)
    if match is None or not match["rest"]:
        return text
    number, rest = match["number"], match["rest"]
    words = _UNIT.fullmatch(rest)
    if words is None:
        return text
    scale, _, unit = rest.partition(" ")
    if scale in _SCALES and read_number(number.strip()) is not None:
        return _scaled(number.strip(), _SCALES[scale]) if not unit or _is_unit(unit, True) else text
    return number.strip() if _is_unit(rest, number.endswith(" ")) else text


def _scaled(number: str, scale: int) -> str:
    value = read_number(number)
    return number if value is None else spell(value * scale)


def _is_unit(words: str, spaced: bool) -> bool:
    """Whether words after a number are a unit, and not a factor of it."""
    if not spaced:
        return words.partition("^")[0] in _ATTACHED
    names = re.findall(r"[a-zA-Z\u00b5\u03a9']+", words)
    if any(name.lower() in _NOT_UNITS or name in _SCALES for name in names):
        return False
    return all(len(name) > 1 or name in _LETTERS for name in names)


def _apply(rules: Iterable[tuple[re.Pattern[str], str]], text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text
