"""`quorate sim`: what it writes, what it refuses, and that the number of processes changes nothing."""

import json
import re
import shutil
from pathlib import Path

import pytest

from cli.main import main
from sim.scenario import from_toml

SCENARIOS = Path(__file__).parents[2] / "sim" / "scenarios"
KEYS = (
    "policy rate load slo_scale programs attainment attainment_p90 lateness_p90 accuracy accuracy_in_time tokens "
    "samples p50 p90 p99 mean refused failed degraded price"
).split()


def sim(*arguments):
    """Call the command as a shell would."""
    return main(["sim", *map(str, arguments)])


@pytest.fixture
def small(tmp_path):
    """The scenario that comes with the project, to be changed."""
    return Path(shutil.copy(SCENARIOS / "small.toml", tmp_path))


@pytest.mark.timeout(60)
def test_the_number_of_processes_changes_nothing(small, tmp_path):
    """One process or two, the files are the same to the last byte."""
    for jobs in (1, 2):
        assert sim(small, "--jobs", jobs, "--json", tmp_path / str(jobs)) == 0
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_what_is_written_and_what_is_printed(small, tmp_path, capsys):
    """A record for each policy, rate and scale, in this order; and what follows from them."""
    assert sim(small, "--jobs", 1, "--json", tmp_path / "out.json") == 0
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    rows = found["records"]
    assert list(rows[0])[: len(KEYS)] == KEYS
    assert [(row["policy"], round(row["load"], 3), row["slo_scale"]) for row in rows] == [
        (policy, load, scale) for policy in ("fixed", "early") for load in (0.5, 1.5) for scale in (0.5, 1.0)
    ]
    assert {row["programs"] for row in rows} == {50}
    assert set(rows[0]["tenants"]) == {"free", "paid"}
    assert [(each["policy"], each["slo_scale"]) for each in found["sustained"]] == [
        (policy, scale) for policy in ("fixed", "early") for scale in (0.5, 1.0)
    ]
    assert len(found["tightest"]) == 4
    out, err = capsys.readouterr()
    assert "fixed: 50 programs at each rate" in out
    assert "90% end in time (relative to fixed)" in out
    assert not err


def test_programs_are_counted_rate_by_rate(small, capsys):
    """Where they come for so many seconds, their number is not the same at every rate."""
    text = small.read_text(encoding="utf-8").replace("programs = 60\nwarmup = 10", "duration = 4")
    small.write_text(text, encoding="utf-8")
    assert sim(small, "--only", "fixed", "--jobs", 1) == 0
    head = re.fullmatch(r"fixed: (\d+), (\d+) programs, rate by rate", capsys.readouterr().out.splitlines()[0])
    assert head is not None
    assert 0 < int(head[1]) < int(head[2])


def test_one_policy_with_another_seed(small, tmp_path):
    """Both change the records in the way they say."""
    for name, arguments in {"a": (), "b": ("--seed", 8)}.items():
        assert sim(small, "--only", "early", "--jobs", 1, "--json", tmp_path / name, *arguments) == 0
    ours, other = (json.loads((tmp_path / name).read_text(encoding="utf-8"))["records"] for name in "ab")
    assert {row["policy"] for row in ours + other} == {"early"}
    assert ours != other


def test_plots_are_drawn(small, tmp_path):
    """Three pictures."""
    pytest.importorskip("matplotlib")
    assert sim(small, "--jobs", 1, "--plots", tmp_path / "plots") == 0
    drawn = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert drawn == ["attainment.png", "costs.png", "scales.png"]
    assert all((tmp_path / "plots" / name).read_bytes().startswith(b"\x89PNG") for name in drawn)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("seed = 7", "seed = 'x'", "small.toml: seed must be a whole number, not 'x'."),
        ("base = 4", "base = 0", "small.toml: deadlines.base must be above 0, not 0."),
        ("max_num_seqs = 32", "max_num_seqs = 0", "small.toml: engine.max_num_seqs must be at least 1, not 0."),
        ("max_num_seqs = 32", "kv_blocks = 3", "small.toml: engine.kv_blocks holds 48 tokens"),
        ("samples = 8", "samples = 99", "small.toml: policies[0].samples is 99, and 64 are recorded."),
        ("prompt_tokens = 100", "prompt_tokens = 8000", "small.toml: engine.max_model_len must be"),
        ("loads = [0.5, 1.5]", "loads = []", "small.toml: workload.rates or loads must be given"),
        ('rule = "fixed"', 'rule = "fixed", sizes = []', "strategy.sizes must be a list of at least 1, not []."),
        ("hedge = false", "hedge = false, weights = { free = 0 }", "policies[0].scheduler.weights.free must be from"),
        ("seed = 7", f"seed = {'9' * 5000}", "small.toml: not TOML (Exceeds the limit"),
        ('hardware = "a100-8b"', 'hardware = "none.json"', "none.json: No such file or directory"),
    ],
)
def test_what_cannot_be_simulated_is_told_in_a_sentence(small, capsys, before, after, said):
    """On standard error, with the field, and status 1."""
    small.write_text(small.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    assert sim(small) == 1
    err = capsys.readouterr().err
    assert err.startswith("quorate sim: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "best"), "--only: there is no policy 'best'; there is fixed, early."),
        (("--json", "missing/out.json"), "there is no folder missing"),
        (("--json", "."), ". is a folder, not a file"),
        (("--plots", SCENARIOS / "small.toml"), "is a file, not a folder"),
    ],
)
def test_wrong_arguments_are_told_before_the_work(small, capsys, arguments, said):
    """Nothing is simulated for a file that cannot be written."""
    assert sim(small, *arguments) == 1
    out, err = capsys.readouterr()
    assert said in err
    assert not out


def test_a_scenario_that_is_not_there(capsys):
    """Named as it was given."""
    assert sim("nowhere.toml") == 1
    assert capsys.readouterr().err == "quorate sim: nowhere.toml: No such file or directory\n"


def test_every_scenario_that_comes_with_the_project_can_be_read():
    """Each begins with how it is run."""
    for path in SCENARIOS.glob("*.toml"):
        assert from_toml(path).policies
        assert f"# quorate sim sim/scenarios/{path.name}\n" in path.read_text(encoding="utf-8")
