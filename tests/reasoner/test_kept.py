"""Templates that are kept from training, asked of a model."""

import re
from random import Random

from reasoner.engines import Reply
from reasoner.kept import answered
from reasoner.written import templates


def test_kept_templates_are_asked(scripted) -> None:
    """Every one of them once, and counted by its steps; a model that has one answer to everything is seldom right."""
    engine = scripted(lambda question, temperature, seed: Reply(r"The answer is \boxed{12}.", 8))
    told = answered(engine, Random(4))
    right, asked = (int(number) for number in re.findall(r"\d+", told)[:2])
    assert asked == len(templates("development")) == len(engine.asked)
    assert 0 < right < asked / 10
    assert sum(int(number) for number in re.findall(r"of (\d+)[,)]", told)) == asked
    assert {temperature for _, temperature, _ in engine.asked} == {0.0}
