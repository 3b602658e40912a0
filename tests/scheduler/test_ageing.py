"""Ageing: nobody waits for ever, whatever order, classes and shares say."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.events import ProgramEnded, RequestSubmitted
from scheduler.orders import ORDERS
from scheduler.policy import Policy
from scheduler.queue import AGED_EVERY

STARVING = 5.0


class Watch:
    """Counts, for every program that starves, those that starved before it, and the starts since, by backend."""

    def __init__(self, hands, slots, order):
        self.desk = hands(slots, Policy(order, starving_seconds=STARVING, max_waiting=10**6))
        self.hungry = {}
        self.backends = {}
        self.counted = {}
        self.running = []
        self.longest = 0

    def arrive(self, name, requests, backends, **asked):
        """A program comes, and wants so many requests."""
        self.hungry[name] = self.desk.now
        self.backends[name] = backends
        self.saw(self.desk.program(name, requests, backends, **asked))

    def saw(self, commands):
        """Requests were started: none of a program that had to wait for longer than the bound says."""
        for start in commands:
            self.running.append(start)
            self.hungry.pop(start.program, None)
            self.counted.pop(start.program, None)
            for name, (before, passed) in self.counted.items():
                if start.backend in self.backends[name]:
                    passed[start.backend] += 1
                    assert passed[start.backend] < AGED_EVERY * (before + 1)
                    self.longest = max(self.longest, passed[start.backend])

    def look(self):
        """Who starves by now, and behind how many others."""
        for name, since in sorted(self.hungry.items(), key=lambda item: item[1]):
            if self.desk.now - since > STARVING and name not in self.counted:
                self.counted[name] = (len(self.counted), Counter())

    def end(self, dice, seconds):
        """One request ends; its program wants another, so that it is never through."""
        self.desk.now += seconds
        self.look()
        start = self.running.pop(dice.randrange(len(self.running)))
        self.saw(self.desk.end(start, dice.randrange(1, 300)))
        if not any(other.program == start.program for other in self.running):
            self.hungry.setdefault(start.program, self.desk.now)
        self.saw(self.desk(RequestSubmitted(start.program, start.index + 1000)))


def play(watch, dice, backends):
    """Programs of all classes and tenants come, more than can be served; requests end, faster and slower."""
    for number in range(40):
        watch.desk.now += dice.random() / 4
        asked = {"priority": dice.randrange(-2, 3), "tenant": dice.choice("ab"), "samples": dice.randrange(1, 99)}
        watch.arrive(f"p{number}", dice.randrange(1, 5), dice.choice(backends), **asked)
        for _ in range(dice.randrange(6)):
            watch.end(dice, dice.random())
    for _ in range(200):
        watch.end(dice, 0.2)


@given(st.sampled_from([*ORDERS, "unanswered then marginal_value"]), st.integers(1, 4), st.integers(0, 2**32))
def test_nobody_starves_for_longer_than_the_bound(hands, order, slots, seed):
    """Under any order, in any class: `starving`, and then fewer than `AGED_EVERY` starts for each that starved before
    it and for itself."""
    watch = Watch(hands, {"b": slots}, order)
    play(watch, Random(seed), [("b",)])
    assert watch.longest > 0


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_holds_across_queues_that_share_a_backend(hands, seed):
    """A model whose programs are all of a low class is not starved by another one on the same backend."""
    watch = Watch(hands, {"b": 2, "c": 1}, "first_come")
    play(watch, Random(seed), [("b",), ("b", "c")])
    assert watch.longest > 0


def test_three_quarters_of_the_starts_go_by_the_rules(hands):
    """A crowd that starves does not turn the order upside down: the first class keeps three of four starts."""
    desk = hands({"b": 1}, Policy(starving_seconds=1.0))
    (running,) = desk.program("first", 400, priority=-1)
    for number in range(80):
        desk.program(f"p{number}", 1)
    desk.now = 2.0
    order = []
    for _ in range(100):
        (running,) = desk.end(running, after=0.01)
        order.append(running.program)
    assert order.count("first") == 75
    assert [name for name in order if name != "first"] == [f"p{number}" for number in range(25)]


def test_who_leaves_starves_no_more(hands):
    """The turn of a program that has gone goes to the next."""
    desk = hands({"b": 1}, Policy(starving_seconds=1.0))
    (running,) = desk.program("first", 9, priority=-1)
    desk.program("p", 1)
    desk.program("q", 1)
    desk.now = 2.0
    desk(ProgramEnded("p"))
    assert [start.program for start in desk.end(running)] == ["q"]
