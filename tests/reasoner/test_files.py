"""Files written whole or not at all."""

import pytest

from reasoner.files import replacing


def test_file_is_replaced_when_it_is_whole(tmp_path) -> None:
    """Until then what was there stays, and afterwards nothing else is left."""
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=repr)
def test_file_stays_where_writing_fails(tmp_path, raised: BaseException) -> None:
    """As it was, without half of a new one beside it."""
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    with pytest.raises(type(raised)), replacing(path) as file:
        file.write(b"ne")
        raise raised
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
