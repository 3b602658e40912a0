"""What the documentation tells a reader to type exists, and what the README shows runs against a live gateway.

A block is run as it stands, with the address of the gateway under test in place of the documented one. A comment
`<!-- expect: TEXT -->` on the line above a block states what its output must contain.
"""

import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README_LINES = 150
BLOCK = re.compile(
    r"(?:^<!-- expect: (?P<expected>.+?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
ADDRESS = re.compile(r"http://(127\.0\.0\.1|localhost):8000")
COMMAND = re.compile(r"^(?:\$ )?(?:\w+=\S+ )*(?:\.venv/bin/)?(make|quorate) +([a-z][a-z-]*)", re.MULTILINE)
SHELL = {"bash", "sh", "console"}
# Without these a block that gets an error page would still end with status 0, and one that hangs would hang the test.
CURL = 'curl() { command curl --fail-with-body --silent --show-error --max-time 60 "$@"; }\n'


@dataclass(frozen=True)
class Block:
    """A fenced block: where it starts, what it is written in, and what its output must contain."""

    line: int
    language: str
    code: str
    expected: str

    @property
    def runnable(self) -> bool:
        """Whether the block is one call of the gateway: Python, or a shell block that begins with curl."""
        return self.language == "python" or (self.language in SHELL and self.code.lstrip().startswith("curl "))


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text."""
    return [
        Block(text.count("\n", 0, match.start()) + 1, match["language"], match["code"], match["expected"] or "")
        for match in BLOCK.finditer(text)
    ]


def commands(text: str) -> set[tuple[str, str]]:
    """`make X` and `quorate X` lines of the shell blocks, as (program, X)."""
    shell = (block.code for block in blocks(text) if block.language in SHELL)
    return {pair for code in shell for pair in COMMAND.findall(code)}


def targets(makefile: str) -> set[str]:
    """Targets that a Makefile offers for typing."""
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))


def exists(program: str, word: str) -> bool:
    """Whether the Makefile has the target, or the console script the subcommand."""
    if program == "make":
        return word in targets((ROOT / "Makefile").read_text(encoding="utf-8"))
    script = Path(sys.executable).with_name("quorate")
    return subprocess.run([script, word, "--help"], capture_output=True, timeout=60, check=False).returncode == 0


def run_block(block: Block, address: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block in an empty folder against the gateway at `address`, a base URL without `/v1`."""
    code = ADDRESS.sub(address.rstrip("/"), block.code)
    command = [sys.executable, "-c", code] if block.language == "python" else ["bash", "-ec", CURL + code]
    environment = {**os.environ, "NO_PROXY": "*"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False)


def problem(block: Block, result: subprocess.CompletedProcess[str]) -> str | None:
    """Why the run of a block is no success: a failure, silence, or not what the text promised."""
    if result.returncode or not result.stdout.strip() or block.expected not in result.stdout:
        return f"README.md:{block.line} gave {result.returncode}:\n{result.stdout}\n{result.stderr}"
    return None


def readme() -> str:
    """The README as it stands."""
    return (ROOT / "README.md").read_text(encoding="utf-8")


def documented() -> Iterator[tuple[str, str, str]]:
    """Every command of every Markdown page of the project, as (page, program, word)."""
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")]:
        for program, word in sorted(commands(page.read_text(encoding="utf-8"))):
            yield page.relative_to(ROOT).as_posix(), program, word


def test_readme_is_short() -> None:
    """The README is read in one sitting."""
    assert readme().count("\n") <= README_LINES


def test_readme_shows_the_way_in() -> None:
    """The two commands and one call of the gateway are in it."""
    assert {("make", "serve"), ("make", "test")} <= commands(readme())
    assert any(block.runnable and block.language in SHELL for block in blocks(readme()))


def folders(house) -> set[str]:
    """Top folders that hold files of the project, hidden ones aside."""
    return {name.partition("/")[0] for name in map(house.name, house.files()) if "/" in name and name[0] != "."}


def test_readme_shows_the_tree(house) -> None:
    """Every top folder has its line in the tree, and no line names a folder that is not there."""
    assert set(re.findall(r"^(\w+)/ +\S", readme(), re.MULTILINE)) == folders(house)


def test_folders_are_those_with_files(build) -> None:
    """A folder counts by the files in it; hidden folders and files at the top do not count."""
    assert folders(build({"core/a.py": "", "deploy/b/c.yml": "", ".ci/run": "", "d.md": ""})) == {"core", "deploy"}


def test_makefile_is_small() -> None:
    """At most nine things to type, `help` and `clean` included."""
    assert len(targets((ROOT / "Makefile").read_text(encoding="utf-8"))) <= 9


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("page", "program", "word"), list(documented()))
def test_documented_command_exists(page: str, program: str, word: str) -> None:
    """What a page tells the reader to type is there to be typed."""
    assert exists(program, word), f"{page}: {program} {word}"


@pytest.mark.e2e
@pytest.mark.timeout(120)
@pytest.mark.parametrize("block", [b for b in blocks(readme()) if b.runnable], ids=lambda b: f"line-{b.line}")
def test_readme_block_runs(block: Block, demo_gateway, tmp_path: Path) -> None:
    """The block runs as printed, and its output holds what the text promises."""
    assert problem(block, run_block(block, demo_gateway.root, tmp_path)) is None


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers `/ok` with a small body and everything else with a 400."""

    def do_GET(self) -> None:
        """Answer one request."""
        self.send_response(200 if self.path == "/ok" else 400)
        self.end_headers()
        self.wfile.write(b'{"answer": 42}')

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def stand_in() -> Iterator[str]:
    """Base URL of a server that answers one path."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


PYTHON = "from urllib.request import urlopen\nprint(urlopen('http://localhost:8000/{}').read().decode())\n"


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("```bash\ncurl http://127.0.0.1:8000/ok\n```\n", True),
        ("<!-- expect: 42 -->\n```bash\ncurl http://localhost:8000/ok \\\n  -H 'a: b'\n```\n", True),
        ("<!-- expect: 43 -->\n```bash\ncurl http://127.0.0.1:8000/ok\n```\n", False),
        ("```bash\ncurl http://127.0.0.1:8000/wrong\n```\n", False),
        ("```bash\ncurl http://127.0.0.1:8000/wrong\ncurl http://127.0.0.1:8000/ok\n```\n", False),
        ("```bash\ncurl http://127.0.0.1:8000/ok > answer\n```\n", False),
        (f"```python\n{PYTHON.format('ok')}```\n", True),
        (f"```python\n{PYTHON.format('wrong')}```\n", False),
    ],
)
def test_block_is_judged(stand_in: str, tmp_path: Path, text: str, sound: bool) -> None:
    """A block passes exactly when every call in it succeeds, it prints something, and that holds what was promised."""
    (block,) = blocks(text)
    assert block.runnable
    assert (problem(block, run_block(block, stand_in, tmp_path)) is None) is sound


def test_commands_are_found_in_shell_blocks_only() -> None:
    """Prompts, variables and paths before a command are seen through; prose and other languages are not read."""
    shell = "```bash\n$ make serve PORT=9000\nCI=1 make soak\n.venv/bin/quorate serve\n```\n"
    text = f"make haste\n{shell}```python\nmake x\n```\n"
    assert commands(text) == {("make", "serve"), ("make", "soak"), ("quorate", "serve")}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("program", "word"), [("make", "no-such-target"), ("quorate", "no-such-command")])
def test_unknown_command_is_caught(program: str, word: str) -> None:
    """A target or subcommand that is not there is said not to be there."""
    assert not exists(program, word)
