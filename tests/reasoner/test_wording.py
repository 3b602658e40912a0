"""The wording bank: its fields, its counts, the parallel tenses, and that nothing in it states a number of its own."""

import re
import string
import tomllib
from pathlib import Path
from typing import Any

import pytest

BANK: dict[str, Any] = tomllib.loads((Path(__file__).parents[2] / "reasoner" / "wording.toml").read_text())
TEMPLATES: dict[str, list[str]] = BANK["templates"]
PRESENT = sorted(name for name in TEMPLATES if not name.endswith("_past"))

# First part of an array's name -> fields that every one of its templates has, fields that it may have besides.
PERSON = "who she him her other"
FIELDS = {
    "start_person": ("n item", "who him her other"),
    "start_place": ("n item place", ""),
    "start_pack": ("who n pack size item", "her"),
    "start_sum": ("who n m item", "her"),
    "start_money": ("who n item", "her"),
    **dict.fromkeys(("more_than", "fewer_than", "times_than"), ("who other n m item", "")),
    **dict.fromkeys(("add_item", "sub_item", "add_money", "sub_money"), ("n item", PERSON)),
    **dict.fromkeys(("add_bare", "sub_bare"), ("n", PERSON)),
    "add_place": ("n come", "item"),
    **dict.fromkeys(("add", "sub", "times"), ("n", PERSON + " item")),
    "sub_place": ("n leave", "item"),
    "box": ("n pack size item", PERSON),
    "each": ("n size item", PERSON),
    "price_sub": ("who n size item thing", "other"),
    "wage_add": ("who n size item", "other thing"),
    "half_place": ("leave", "item"),
    "share_keep": ("who n", "her item"),
    "together": ("other m", "item"),
    "ask_place": ("", "item place"),
    "ask_together": ("", "who other item"),
    **dict.fromkeys(("ask_more", "ask_fewer"), ("who other", "item")),
    "ask": ("", "who him item"),
    "": ("", PERSON + " item"),  # doublings, triplings and halves
}
LEAST = {"start_": 25, "add_": 90, "sub_": 90, "box_add": 30, "box_sub": 15, "start_sum": 15, "more_than": 12}
LEAST |= {"double": 20, "triple": 20, "times": 20, "half": 20, "share_keep": 12, "fewer_than": 12, "together": 12}
LEAST |= {"ask_now": 30, "ask_left": 12, "ask_place": 12, "ask_money": 12}
DISTINCT = {"names.she": 75, "names.he": 75, "names.roles_she": 30, "names.roles_he": 30, "names.others": 30}
DISTINCT |= {"words.packs": 25, "joins.any": 25, "joins.couples": 12, "joins.if_form": 10}
DISTINCT |= {"fillers.any": 30, "fillers.person": 12}

COUNTS = r"(?i)\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?|hundreds?|twice|thrice)\b"
SAMPLE = {"who": "Mia", "she": "she", "him": "Mia", "her": "her", "other": "a friend", "n": "3", "m": "4", "size": "5"}
SAMPLE |= {"item": "apples", "thing": "books", "pack": "boxes"} | {"place": "on a tree", "come": "land", "leave": "go"}
CLAUSES = {"a": "she runs", "b": "she rests", "start": "Mia has 3", "events": "she buys 4", "ask": "how many are left"}


def fields(template: str) -> set[str]:
    """Names of the format fields of a template; fails on positional fields, conversions and format specifications."""
    parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
    assert all(name and not spec and not conversion for _, name, spec, conversion in parts), template
    return {str(name) for _, name, _, _ in parts}


def rule(array: str) -> tuple[set[str], set[str]]:
    """Required and permitted fields of an array: of the longest key that its name starts with."""
    key = max((key for key in FIELDS if key == array or array.startswith(key + "_") or not key), key=len)
    required, besides = (set(part.split()) for part in FIELDS[key])
    return required, required | besides


def sentences() -> list[tuple[str, str]]:
    """Every sentence of the bank with the name of the array that it stands in."""
    found = [(f"{t}.{k}", s) for t in ("templates", "joins", "fillers") for k, v in BANK[t].items() for s in v]
    return found + [(f"share_each.{key}", text) for entry in BANK["share_each"] for key, text in entry.items()]


@pytest.mark.parametrize("array", PRESENT)
def test_templates_have_the_fields_of_their_array(array: str) -> None:
    """The teller fills every field, and a template that must name the number or the things does."""
    required, permitted = rule(array)
    for template in TEMPLATES[array] + TEMPLATES[array + "_past"]:
        assert required <= fields(template) <= permitted, template


@pytest.mark.parametrize("table", ["templates", "fillers"])
def test_the_past_is_parallel(table: str) -> None:
    """Entry for entry the same fields and another verb, except where the verb comes from the place."""
    for name, array in ((name, array) for name, array in BANK[table].items() if not name.endswith("_past")):
        for now, then in zip(array, BANK[table][name + "_past"], strict=True):
            assert fields(now) == fields(then), now
            assert now != then or fields(now) & {"come", "leave"}, now


def test_every_sentence_renders_as_plain_english() -> None:
    """Plain characters, single blanks, a lower-case start and the closing mark of its kind."""
    for name, template in sentences():
        text = template.format(**SAMPLE, **CLAUSES)
        assert re.fullmatch(r"[A-Za-z0-9 ,.;:?'-]+", text) and "  " not in text and text == text.strip(), text
        assert not re.match("[A-Z]", template), template
        if name.startswith(("templates.ask", "share_each.ask", "joins.if_form")):
            assert text.endswith("?"), text
        elif not name.startswith("joins"):
            assert text.endswith("."), text


def test_only_scaling_states_numbers_of_its_own() -> None:
    """Elsewhere every number of a story is one that the teller put there."""
    scaling = ("templates.double", "templates.triple", "templates.half", "templates.ask_together")
    assert [text for name, text in sentences() if re.search(COUNTS, text) and not name.startswith(scaling)] == []


def test_an_other_person_is_mentioned_once_or_by_name() -> None:
    """ "A friend ... and a friend" would be two friends."""
    by_name = ("more_than", "fewer_than", "times_than", "together", "ask_")
    for name in (name for name in TEMPLATES if not name.startswith(by_name)):
        assert all(template.count("{other}") <= 1 for template in TEMPLATES[name])


def test_nothing_is_twice_in_a_list() -> None:
    """A repeated entry would be drawn twice as often."""
    lists = [v for t in ("names", "words", "items", "templates", "joins", "fillers") for v in BANK[t].values()]
    lists += [[entry["place"] for entry in BANK["places"]], [entry["say"] for entry in BANK["share_each"]]]
    lists.append(BANK["names"]["she"] + BANK["names"]["he"])
    assert [words for words in lists if len(words) != len(set(words))] == []


def test_there_is_enough_of_everything() -> None:
    """The stories' variety rests on these counts; a key ending in "_" sums the arrays that start with it."""
    for key, least in LEAST.items():
        arrays = [name for name in PRESENT if name == key or (key[-1] == "_" and name.startswith(key))]
        assert sum(len(TEMPLATES[name]) for name in arrays) >= least, key
    for path, least in DISTINCT.items():
        table, name = path.split(".")
        assert len(BANK[table][name]) >= least, path
    assert len({item for group in BANK["items"].values() for item in group}) >= 200
    assert len(BANK["places"]) >= 40 and len(BANK["share_each"]) >= 12


def test_places_and_sharing_speak_in_both_tenses() -> None:
    """A place says what comes and goes; sharing ends in a question that needs no person."""
    for place in BANK["places"]:
        assert set(place) == {"place", "items", "come", "came", "leave", "left"} and len(place["items"]) >= 2
        assert place["come"] != place["came"] and place["leave"] != place["left"]
    for entry in BANK["share_each"]:
        assert fields(entry["say"]) == fields(entry["say_past"]) and fields(entry["say"]) - {"who", "item"} == {"n"}
        assert fields(entry["ask"]) == fields(entry["ask_past"]) and fields(entry["ask"]) <= {"item"}
