"""The command finds its subcommands, and imports no more than the one that was called."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_every_subcommand_and_each_has_its_own(name, capsys):
    """Status 0; a subcommand's help is made by its module."""
    for arguments in (["--help"], [name, "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert name in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["--no-such-option"]])
def test_a_wrong_call_is_refused(arguments, capsys):
    """Status 2 and the usage."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: quorate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], ["fastapi", "aiohttp", "matplotlib", "sim"]),
        (["serve", "--help"], ["matplotlib", "cli.replay", "sim.kernel"]),
        (["replay", "--help"], ["fastapi", "aiohttp", "matplotlib"]),
    ],
)
def test_what_is_not_called_is_not_imported(arguments, absent):
    """A subcommand starts as fast as if it were alone."""
    code = "import sys; from cli.main import main\ntry: main(sys.argv[1:])\nexcept SystemExit: print(*sys.modules)"
    command = [sys.executable, "-c", code, *arguments]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout
    assert not {*absent} & {*out.splitlines()[-1].split()}


def test_the_package_is_the_command(capfd):
    """`python -m cli` is `quorate`."""
    subprocess.run([sys.executable, "-m", "cli", "--version"], cwd=ROOT, timeout=20, check=True)
    assert capfd.readouterr().out.startswith("quorate ")
