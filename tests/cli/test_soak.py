"""`quorate soak`: what it prints, that a failing seed says how to replay it, and that processes change nothing."""

import pytest

from cli import soak
from cli.main import main
from sim.books import Violation
from sim.soak import Report, play


@pytest.fixture
def short(monkeypatch):
    """Fewer programs to a seed."""
    monkeypatch.setattr(soak, "PROGRAMS", 60)
    monkeypatch.setattr(soak, "play", lambda seed: play(seed, 60))


def test_what_is_printed(short, capsys):
    """Seeds, programs, how they ended, what went wrong; and the same digest again."""
    lines = []
    for _ in range(2):
        assert main(["soak", "--programs", "170", "--seed", "5", "--jobs", "1"]) == 0
        lines.append(capsys.readouterr().out.splitlines())
    assert lines[0][0].startswith("3 seeds kept every invariant: 180 programs, ")
    assert [line.split()[0] for line in lines[0][1:]] == ["requests", "ended:", "faults:", "digest:"]
    assert lines[0][1:] == lines[1][1:]


def test_a_failing_seed_is_replayed_by_the_command_that_it_prints(short, monkeypatch, capsys):
    """The first failure ends the soak with status 1; so does its replay, and that of a good seed with 0."""

    def played(seed):
        if seed == 6:
            raise Violation("tokens are lost")
        return play(seed, 20)

    monkeypatch.setattr(soak, "play", played)
    assert main(["soak", "--programs", "600", "--seed", "5", "--jobs", "1"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("1 seeds kept every invariant")
    (line,) = [line for line in err.splitlines() if "To replay it" in line]
    command = line.partition("To replay it: quorate ")[2].split()
    assert command == ["soak", "--replay", "6"]
    assert "Violation: tokens are lost" in err
    assert main(command) == 1
    assert main(["soak", "--replay", "5"]) == 0


@pytest.mark.timeout(120)
def test_the_number_of_processes_changes_nothing(capsys):
    """Two seeds in two processes, and one after the other."""
    digests = set()
    for jobs in ("1", "2"):
        assert main(["soak", "--programs", "4000", "--seed", "16", "--jobs", jobs]) == 0
        digests.add(capsys.readouterr().out.splitlines()[-1])
    assert len(digests) == 1


@pytest.mark.parametrize("wrong", [["--programs", "0"], ["--jobs", "none"], ["--replay"], ["--seed", "x"]])
def test_wrong_calls_are_refused(wrong, capsys):
    """Status 2, and the option is named."""
    with pytest.raises(SystemExit) as caught:
        main(["soak", *wrong])
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_a_report_of_nothing_is_no_error():
    """The first seed has failed already."""
    assert next(soak.table([], 0.0)).startswith("0 seeds kept every invariant: 0 programs")
    assert list(soak.table([Report()], 1.0))[3] == "faults: none"
