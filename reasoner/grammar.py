"""As much English grammar as scenes need: subjects, and verbs that agree with them.

Templates mark verbs: `[give/gave]` agrees with the subject of its clause (the past after the slash where it is
irregular), `<has/had>` only with the tense. `[be]` is the verb to be.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

Number = Literal["first", "third", "plural"]
_VERB = re.compile(r"\[([a-z]+)(?:/([a-z]+))?\]")
_TENSE = re.compile(r"<([a-z ]+)/([a-z ]+)>")
_BE: Mapping[Number, tuple[str, str]] = {"first": ("am", "was"), "third": ("is", "was"), "plural": ("are", "were")}
_THIRD: Mapping[str, str] = {"have": "has", "do": "does", "go": "goes", "lay": "lays"}
_PAST: Mapping[str, str] = {"have": "had", "do": "did"}


@dataclass(frozen=True, slots=True)
class Subject:
    """Who does something.

    `name`: at the first mention ("a girl", "I"); `pronoun`, `him`, `her`: later, as an object, as a possessive;
    `number`: what its verbs agree with.
    """

    name: str
    pronoun: str
    him: str
    her: str
    number: Number = "third"

    @property
    def again(self) -> str:
        """The name at a later mention."""
        return re.sub(r"^an? ", "the ", self.name)

    @property
    def whose(self) -> str:
        """Its possessive: "Mia's", "the kids'", "my"."""
        if self.name == self.pronoun:
            return self.her
        return f"{self.name}'" if self.number == "plural" and self.name.endswith("s") else f"{self.name}'s"


I = Subject("I", "I", "me", "my", "first")  # noqa: E741 - the pronoun
WE = Subject("we", "we", "us", "our", "plural")
YOU = Subject("you", "you", "you", "your", "plural")


def she(name: str) -> Subject:
    """A woman or a girl."""
    return Subject(name, "she", "her", "her")


def he(name: str) -> Subject:
    """A man or a boy."""
    return Subject(name, "he", "him", "his")


def they(name: str) -> Subject:
    """Several persons."""
    return Subject(name, "they", "them", "their", "plural")


def it(name: str) -> Subject:
    """An animal, a shop."""
    return Subject(name, "it", "it", "its")


def third(base: str) -> str:
    """A verb with she, he or it: `carries`."""
    if base in _THIRD:
        return _THIRD[base]
    if base.endswith(("s", "x", "z", "ch", "sh")):
        return f"{base}es"
    return f"{base[:-1]}ies" if _after_consonant(base, "y") else f"{base}s"


def past(base: str) -> str:
    """The regular past of a verb whose last consonant is not doubled: `carried`."""
    if base in _PAST:
        return _PAST[base]
    if base.endswith("e"):
        return f"{base}d"
    return f"{base[:-1]}ied" if _after_consonant(base, "y") else f"{base}ed"


def _after_consonant(base: str, end: str) -> bool:
    return base.endswith(end) and base[-2] not in "aeiou"


@cache
def conjugated(template: str, number: Number, *, before: bool) -> str:
    """The template with its verbs in place; `before`: in the past."""

    def verb(found: re.Match[str]) -> str:
        base, irregular = found.groups()
        if base == "be":
            return _BE[number][before]
        if before:
            return str(irregular or past(base))
        return third(base) if number == "third" else str(base)

    return _TENSE.sub(lambda found: str(found[1 + before]), _VERB.sub(verb, template))
