"""Recipes a program can follow, one file each; answer extraction and equivalence beside them."""

from collections.abc import Mapping

from core.context import Strategy
from strategies.auto import auto
from strategies.deepconf_online import deepconf_online
from strategies.direct import direct
from strategies.exit_at_cues import exit_at_cues
from strategies.probe_in_the_middle import probe_in_the_middle
from strategies.self_consistency import self_consistency
from strategies.thinking_budget import thinking_budget

STRATEGIES: Mapping[str, Strategy] = {
    "direct": direct,
    "self_consistency": self_consistency,
    "auto": auto,
    "deepconf_online": deepconf_online,
    "probe_in_the_middle": probe_in_the_middle,
    "exit_at_cues": exit_at_cues,
    "thinking_budget": thinking_budget,
}
"""Name to strategy: the one line to add."""

ONE_CHAIN = frozenset({probe_in_the_middle, exit_at_cues, thinking_budget})
"""Strategies that act inside one sample: a budget of one sample does not make them `direct`."""

__all__ = ["ONE_CHAIN", "STRATEGIES"]
