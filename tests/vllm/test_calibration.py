"""The engine model, calibrated to real vLLM, serves other calls about as fast (`python -m bench.engine` in short)."""

from random import Random
from statistics import median

import pytest

from cli.calibrate_engine import OPTIONS, Given, known_of, measure
from cli.driving import Prompt, connected
from sim.engine.engine import serve
from sim.engine.measuring import Run
from sim.engine.types import Work
from tests.vllm.server import VllmServer

SEATS = 16
QUESTION = "Mia has {} marbles. Mia buys {} packs of {} marbles. How many marbles does Mia have now?"


def crowd(dice: Random) -> list[Prompt]:
    """Three calls a seat, all at once, with answers as different as those of the model."""
    texts = (QUESTION.format(*(dice.randint(10, 99) for _ in range(3))) for _ in range(3 * SEATS))
    return [Prompt(text, round(dice.uniform(50, 450))) for text in texts]


async def test_a_calibrated_model_is_as_fast_as_vllm(vllm: VllmServer) -> None:
    """Tokens a second of a crowd, the median of three, within 25 %; the machine may be busy with other things."""
    said: list[str] = []
    async with connected(vllm.base_url, vllm.model, OPTIONS) as server:
        known = await known_of(server, Given(SEATS))
        assert (known.max_model_len, known.block_size, known.prefix_caching) == (1280, 128, True)
        found = (await measure(server, known, seconds=12.0, repeats=1, dice=Random(), say=said.append)).fitted()
        ratios = []
        for seed in range(3):
            run = Run("crowd", tuple(await server.run(crowd(Random(seed)))))
            works = [(call.submitted, Work(key, call.prompt, call.completion)) for key, call in enumerate(run.calls)]
            ratios.append(max(serve(found.parameters, works).values()) / run.seconds)
    assert "16 seats" in said[0]
    assert median(ratios) == pytest.approx(1.0, abs=0.25), found
