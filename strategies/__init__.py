"""Recipes a program can follow, one file each; answer extraction and equivalence beside them."""

from collections.abc import Mapping

from core.context import Strategy
from strategies.direct import direct
from strategies.self_consistency import self_consistency

STRATEGIES: Mapping[str, Strategy] = {
    "direct": direct,
    "self_consistency": self_consistency,
}
"""Name to strategy: the one line to add."""

__all__ = ["STRATEGIES"]
