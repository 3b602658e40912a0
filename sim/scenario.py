"""Scenarios: a cluster, what comes to it, and the policies that are compared on it; read from TOML, every key checked.

docs/simulation.md describes every key.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal

from core.budget import Budget
from core.context import Strategy
from core.errors import InvalidRequest
from core.stopping.names import rule_named
from core.types import YEAR
from scheduler.orders import order_named
from scheduler.policy import Policy
from sim.engine.hardware import HARDWARE, named
from sim.engine.types import EngineParameters
from sim.faults import Faults
from sim.reading import ScenarioError, at_least, at_most, convert, positive, read
from sim.traces import Question, load
from sim.waves import waves
from sim.workload import Workload, made_up
from strategies import STRATEGIES
from strategies.selectors import selector_named
from strategies.self_consistency import DEFAULT

CHOICES: Mapping[str, Strategy] = {**STRATEGIES, "waves": waves}
"""Strategies that a policy may name: the gateway's own, and the one of published baselines."""
UNBOUNDED = 10**9
"""Slots, or requests that may wait, where nobody counts them."""
MANY = 10**5
"""Engines, replicas of the gateway, seats of an engine and samples of a program, at most."""
CROWD = 10**7
"""Programs that one run can hold in memory, or blocks of the cache of an engine."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """A program's time is scale x factor x `base` seconds (Dynasor, arXiv 2412.20993, section 5).

    With `difficulty` "oracle" the factor is 1, 2 or 3 where the recorded samples are always, sometimes or never right;
    with "none" it is 1 for all.
    """

    base: float = 60.0
    scales: tuple[float, ...] = (1.0,)
    difficulty: Literal["oracle", "none"] = "none"
    factors: tuple[float, ...] = (1.0, 2.0, 3.0)

    def __post_init__(self) -> None:
        positive(YEAR, base=self.base)
        if not self.scales:
            raise ValueError("scales must hold at least one.")
        if len(self.factors) != 3:
            raise ValueError("factors must be three: of questions that are always, sometimes and never answered right.")
        for name, values in (("scales", self.scales), ("factors", self.factors)):
            for value in values:
                positive(10**6, **{name: value})

    def factor(self, question: Question) -> float:
        """How much longer than the base this question may take."""
        if self.difficulty == "none":
            return 1.0
        right = sum(sample.correct for sample in question.samples)
        always, sometimes, never = self.factors
        if right == len(question.samples):
            return always
        return sometimes if right else never


@dataclass(frozen=True, slots=True)
class Cluster:
    """`replicas` engines of one kind: `hardware` by name or as a JSON file of parameters, the rest where it differs."""

    hardware: str = "a100-8b"
    replicas: int = 1
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    max_model_len: int | None = None
    kv_blocks: int | None = None
    prefix_caching: bool | None = None

    def __post_init__(self) -> None:
        at_least(1, replicas=self.replicas, max_num_seqs=self.max_num_seqs, kv_blocks=self.kv_blocks)
        at_least(1, max_num_batched_tokens=self.max_num_batched_tokens, max_model_len=self.max_model_len)
        at_most(MANY, replicas=self.replicas, max_num_seqs=self.max_num_seqs)
        at_most(CROWD, kv_blocks=self.kv_blocks)
        at_most(UNBOUNDED, max_num_batched_tokens=self.max_num_batched_tokens, max_model_len=self.max_model_len)
        if self.hardware not in HARDWARE and not self.hardware.endswith(".json"):
            raise ValueError(f"hardware must be {', '.join(HARDWARE)} or a .json file, not {self.hardware!r}.")

    @property
    def backends(self) -> tuple[str, ...]:
        """Names of the engines."""
        return tuple(f"engine-{number}" for number in range(self.replicas))

    def parameters(self, folder: Path) -> EngineParameters:
        """Those of each engine; a file is looked for in the folder. Raises `ScenarioError` and `OSError`."""
        changes = ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "kv_blocks", "prefix_caching")
        given = {name: getattr(self, name) for name in changes if getattr(self, name) is not None}
        try:
            if self.hardware in HARDWARE:
                known = named(self.hardware)
            else:
                known = EngineParameters.read(json.loads((folder / self.hardware).read_text(encoding="utf-8")))
        except ValueError as error:
            raise ScenarioError(f"engine.hardware: {self.hardware}: {error}") from None
        try:
            return replace(known, **given)
        except ValueError as error:
            raise ScenarioError(f"engine.{error}") from None


@dataclass(frozen=True, slots=True)
class Gateway:
    """`replicas` of the gateway; seconds between ticks, and between looks at the gauges.

    They divide the slots evenly; with `store` as the shared store leases them, by demand.
    """

    replicas: int = 1
    store: bool = False
    tick: float = 0.25
    gauges: float = 1.0

    def __post_init__(self) -> None:
        at_least(1, replicas=self.replicas)
        at_most(MANY, replicas=self.replicas)
        positive(YEAR, tick=self.tick, gauges=self.gauges)


@dataclass(frozen=True, slots=True)
class Contender:
    """One policy: how each program spends its budget, and how the gateway schedules all of them.

    `strategy` is a name, or a table of `name` and options. `samples` is the cap, `slots` of each engine (None: its
    seats; 0: without bound). The deadline is only `measured`, `told` to the scheduler, or `given` to the program as its
    time limit as well: then it answers with what it has. Without `gauges` the gateway does not learn what engines say.
    """

    name: str
    strategy: str | Mapping[str, Any]
    samples: int = 16
    certainty: float | None = None
    max_tokens: int | None = None
    min_samples: int = 1
    deadline: Literal["measured", "told", "given"] = "measured"
    slots: int | None = None
    gauges: bool = True
    priority_scheduling: bool = False
    scheduler: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        at_least(0, slots=self.slots)
        at_least(1, samples=self.samples)
        at_most(UNBOUNDED, slots=self.slots, max_tokens=self.max_tokens)
        at_most(MANY, samples=self.samples)
        try:
            self.budget(None)
            order_named(self.scheduler.order)
        except InvalidRequest as error:
            raise ValueError(str(error.param).rpartition(".")[2] + f": {error.message}") from None
        except ValueError as error:
            raise ValueError(f"scheduler.order: {error}") from None
        _checked(self.spelled, self.options)

    @property
    def spelled(self) -> str:
        """The strategy's name."""
        return self.strategy if isinstance(self.strategy, str) else str(self.strategy.get("name"))

    @property
    def options(self) -> Mapping[str, Any]:
        """The strategy's options. Recorded answers can always be compared, so nothing is given up for want of that."""
        given = {} if isinstance(self.strategy, str) else {k: v for k, v in self.strategy.items() if k != "name"}
        known = signature(CHOICES[self.spelled]).parameters if self.spelled in CHOICES else {}
        comparable = {"incomparable_after": self.samples} if "incomparable_after" in known else {}
        return {**comparable, **given}

    def budget(self, seconds: float | None) -> Budget:
        """What each program may spend."""
        return Budget(self.samples, self.min_samples, self.max_tokens, seconds, self.certainty)


def _checked(name: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError if there is no such strategy, option or rule, or an option cannot be that."""
    if name not in CHOICES:
        raise ValueError(f"strategy must be {', '.join(CHOICES)}, not {name!r}.")
    parameters = signature(CHOICES[name], eval_str=True).parameters.values()
    known = {each.name: each.annotation for each in parameters if each.kind is Parameter.KEYWORD_ONLY}
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"strategy.{option} is not known; {name} takes {', '.join(known) or 'no options'}.")
        try:
            convert(known[option], value, f"strategy.{option}")
            _named(option, value)
        except InvalidRequest as error:
            raise ValueError(f"strategy.{option}: {error.message}") from None
        except ScenarioError as error:  # the path to it is not complete yet
            raise ValueError(str(error)) from None


def _named(option: str, value: Any) -> None:
    """Raises `InvalidRequest` if an option names a rule or a selector that there is not."""
    if option == "rule" and value != DEFAULT:
        rule_named(value)
    if option == "selector":
        selector_named(value)


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of it. Either so many `programs` come, or those of `duration` seconds; the first `warmup` are not counted."""

    workload: Workload
    policies: tuple[Contender, ...]
    seed: int = 0
    programs: int | None = None
    duration: float | None = None
    warmup: int = 0
    deadlines: Deadlines = field(default_factory=Deadlines)
    engine: Cluster = field(default_factory=Cluster)
    gateway: Gateway = field(default_factory=Gateway)
    faults: Faults | None = None

    def __post_init__(self) -> None:
        at_least(0, warmup=self.warmup)
        at_least(1, programs=self.programs)
        at_most(CROWD, programs=self.programs)
        positive(YEAR, duration=self.duration)
        if (self.programs is None) is (self.duration is None):
            raise ValueError("programs or duration must be given, and not both.")
        if self.programs is not None and self.warmup >= self.programs:
            raise ValueError("warmup must be less than programs.")
        names = [policy.name for policy in self.policies]
        if not names:
            raise ValueError("policies must hold at least one.")
        if len(set(names)) < len(names):
            raise ValueError("policies must have names of their own.")

    @property
    def cap(self) -> int:
        """The most samples that any policy may draw."""
        return max(policy.samples for policy in self.policies)


def from_toml(path: Path) -> Scenario:
    """The scenario of a file. Raises `ScenarioError`, which names file and field, and `OSError`."""
    try:
        return read(Scenario, tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except ScenarioError as error:
        raise ScenarioError(f"{path.name}: {error}") from None
    except ValueError as error:  # no TOML, no UTF-8, or a number of more digits than Python reads
        raise ScenarioError(f"{path.name}: not TOML ({error})") from error


def questions_of(scenario: Scenario, folders: Sequence[Path]) -> tuple[Question, ...]:
    """What is asked. Recorded samples are looked for in these folders, by path or by name without its ending.

    Raises `TraceError`, `ScenarioError` and `OSError`.
    """
    workload = scenario.workload
    if workload.family is not None:
        found = made_up(workload.family, scenario.seed)
    else:
        found = load(_file(workload.answers, folders))
    fewest = min(len(question.samples) for question in found)
    for number, policy in enumerate(scenario.policies):
        if policy.samples > fewest:
            raise ScenarioError(f"policies[{number}].samples is {policy.samples}, and {fewest} are recorded.")
    return found


def _file(name: str, folders: Sequence[Path]) -> Path:
    candidates = [folder / (name + ending) for folder in folders for ending in ("", ".jsonl", ".jsonl.gz")]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise ScenarioError(f"workload.answers: there are no recorded samples {name!r}.")
    return found
