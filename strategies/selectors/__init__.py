"""Which of the finished samples is the answer: selectors, by name.

    selection     what a selector is, and the tally that all share
    voting        votes that count alike, or by length
    confidences   votes weighted by token confidences
    features      votes weighted or filtered by the text
    best          one sample by its own score
    abstention    no answer where too few back it
    names         the table of names
    votes         the vote of a program, answered by a selector

All pure functions of the samples in order of completion; `core` and `strategies.answers` only.
"""

from strategies.selectors.best import best_of
from strategies.selectors.names import SELECTORS, selector_named
from strategies.selectors.selection import Selection, Selector
from strategies.selectors.votes import SelectedVotes, votes_for

__all__ = ["SELECTORS", "SelectedVotes", "Selection", "Selector", "best_of", "selector_named", "votes_for"]
