"""How a model reads the wording of many hands: it is asked the templates that are kept from training."""

from collections import Counter
from random import Random

from reasoner.engines import Engine
from reasoner.task import final_answer
from reasoner.written import templates


def answered(engine: Engine, dice: Random) -> str:
    """How many templates of the `development` split a greedy reply answers right, by the steps of their sums."""
    right: Counter[int] = Counter()
    asked: Counter[int] = Counter()
    for made in templates("development"):
        story = made.story(dice)
        said = final_answer(engine.reply(story.question, temperature=0.0, seed=0).text)
        asked[made.steps] += 1
        right[made.steps] += str(said) == str(story.total.answer)
    told = ", ".join(f"{steps} steps: {right[steps]} of {asked[steps]}" for steps in sorted(asked))
    return f"{right.total()} of {asked.total()} templates kept from training ({told})"
