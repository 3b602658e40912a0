"""The reader of GGUF headers, against headers made by hand."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.backends.gguf import context_length

WEIGHTS = Path(__file__).parents[3] / "reasoner/weights"


def text(value: bytes) -> bytes:
    """A GGUF string."""
    return struct.pack("<Q", len(value)) + value


def header(*pairs: bytes, magic: bytes = b"GGUF", version: int = 3) -> bytes:
    """A file with these metadata pairs and no tensors."""
    return struct.pack("<4sIQQ", magic, version, 0, len(pairs)) + b"".join(pairs)


ARCHITECTURE = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
WORDS = text(b"words") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"bc")
NUMBERS = text(b"numbers") + struct.pack("<IIQ3i", 9, 5, 3, 1, 2, 3)
NESTED = text(b"nested") + struct.pack("<IIQIQB", 9, 9, 1, 0, 1, 7)
CONTEXT = text(b"llama.context_length") + struct.pack("<II", 4, 2048)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the test puts its file."""
    return tmp_path / "model.gguf"


def test_the_context_length_is_found_behind_other_values(file: Path) -> None:
    """Strings and arrays, nested ones too, are stepped over exactly."""
    file.write_bytes(header(ARCHITECTURE, WORDS, NUMBERS, NESTED, CONTEXT))
    assert context_length(file) == 2048


def test_a_file_may_say_nothing(file: Path) -> None:
    """Without the key the answer is None."""
    file.write_bytes(header(ARCHITECTURE, WORDS))
    assert context_length(file) is None


@pytest.mark.parametrize("model", ["reasoner-small", "reasoner-large"])
def test_the_demonstration_models_are_read(model: str) -> None:
    """Both were trained for 1280 tokens."""
    assert context_length(WEIGHTS / model / "model-q8_0.gguf") == 1280


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"not a model " * 10,
        header(CONTEXT, magic=b"GGML"),
        header(CONTEXT, version=1),
        header(ARCHITECTURE, CONTEXT)[:40],
        header(text(b"key") + struct.pack("<I", 99)),
        header(struct.pack("<Q", 2**60)),
        header(text(b"deep") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000),
    ],
)
def test_what_is_not_a_header_is_an_error(file: Path, content: bytes) -> None:
    """Other files, cut files, absurd lengths and endless nesting are a ValueError."""
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"header breaks off|no GGUF mark|a string of"):
        context_length(file)


@given(cut=st.integers(0, 200), noise=st.binary(max_size=40))
def test_no_damage_gets_through_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes
) -> None:
    """Whatever stands in the file, the answer is a number, None or ValueError."""
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    whole = header(ARCHITECTURE, WORDS, NUMBERS, CONTEXT)
    path.write_bytes(whole[:cut] + noise + whole[cut + len(noise) :])
    try:
        found = context_length(path)
    except ValueError:
        return
    assert found is None or isinstance(found, int)
