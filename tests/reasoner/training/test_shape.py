"""Shapes: their size, and the nonsense that they refuse."""

import pytest

from reasoner.training.shape import Shape


def test_parameters_are_those_of_the_shipped_model() -> None:
    """The shape of reasoner-small counts what its weights' page says."""
    assert Shape(width=128, layers=4, heads=4, kv_heads=2, ff=352, vocab=512).parameters == 803_968


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, "positive"),
        ({"heads": 3}, "width 128 does not split into 3 heads"),
        ({"heads": 128}, "heads of an even size"),
        ({"kv_heads": 3}, "no multiple of kv_heads"),
    ],
)
def test_impossible_shape_is_refused(change: dict[str, int], message: str) -> None:
    """Sizes that do not fit together are named."""
    with pytest.raises(ValueError, match=message):
        Shape(**({"width": 128, "layers": 4, "heads": 4, "kv_heads": 2, "ff": 352} | change))
