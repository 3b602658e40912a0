"""Sequential probability ratio tests on the top two."""

from math import comb, isclose, log

import pytest

from core.errors import InvalidRequest
from core.evidence import Evidence
from core.stopping.sequential import log_mixture_ratio, mixture_sprt, sprt
from core.types import StopReason


@pytest.mark.parametrize(
    ("rule", "counts", "reason"),
    [
        (sprt(), (3,), StopReason.CERTAIN),
        (sprt(), (2,), None),
        (sprt(), (5, 2), StopReason.CERTAIN),
        (sprt(), (5, 3), None),
        (sprt(), (), None),
        # log(0.95 / 0.05) = 2.94 against 0.588 a vote for and -0.916 against.
        (sprt(0.9, 0.05, 0.05), (6,), StopReason.CERTAIN),
        (sprt(0.9, 0.05, 0.05), (5,), None),
        (sprt(0.9, 0.05, 0.05), (3, 3), StopReason.FUTILE),
        (sprt(0.9, 0.05, 0.05), (2, 2), None),
        (mixture_sprt(), (3,), StopReason.CERTAIN),
        (mixture_sprt(), (2,), None),
        (mixture_sprt(), (7, 4), StopReason.CERTAIN),
        (mixture_sprt(), (7, 5), None),
        (mixture_sprt(1, 0.05, 0.05), (7,), StopReason.CERTAIN),
        (mixture_sprt(1, 0.05, 0.05), (6,), None),
        (mixture_sprt(1, 0.05, 0.05), (), None),
    ],
)
def test_both_boundaries(rule, counts, reason):
    """Told apart at the upper boundary, given up at the lower; the released defaults are a lead of three."""
    assert rule(Evidence(counts, 8)) is reason


@pytest.mark.parametrize(("lead", "second"), [(0, 0), (1, 0), (4, 1), (7, 7), (20, 3)])
def test_mixture_ratio_under_a_flat_prior(lead, second):
    """Against the exact integral of 2^n p^lead (1 - p)^second * 2 over (1/2, 1), a binomial sum."""
    n = lead + second
    above = sum(comb(n + 1, k) for k in range(lead + 1)) / 2 ** (n + 1)
    exact = 2**n * 2 * above / ((n + 1) * comb(n, lead))
    assert isclose(log_mixture_ratio(lead, second, 1), log(exact), abs_tol=1e-9)


def test_mixture_ratio_of_a_narrow_prior_by_summation():
    """Against a fine sum over p for Beta(50, 50) cut at one half."""
    grid = [0.5 + (k + 0.5) / 20_000 for k in range(10_000)]
    prior = [(4 * p * (1 - p)) ** 49 for p in grid]
    ratio = sum(w * (2 * p) ** 6 * (2 * (1 - p)) ** 2 for p, w in zip(grid, prior, strict=True)) / sum(prior)
    assert isclose(log_mixture_ratio(6, 2, 50), log(ratio), abs_tol=1e-6)


@pytest.mark.parametrize("factory", [sprt, mixture_sprt])
def test_crossed_boundaries_are_refused(factory):
    """Errors that sum to one leave nothing between the boundaries."""
    with pytest.raises(InvalidRequest) as error:
        factory(0.6, 0.5, 0.5)
    assert error.value.param == "rule"
