"""A reader finds the old file or the new one, never half of one, and never a temporary."""

import pytest

from midifactory.files import replacing, write_bytes, write_text


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")])
def test_a_failure_keeps_the_old_file_and_leaves_no_temporary(tmp_path, error):
    target = tmp_path / "song.json"
    write_text(target, "old")

    def write_half():
        with replacing(target) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_without_an_old_file_leaves_nothing(tmp_path):
    def write_nothing():
        with replacing(tmp_path / "a.png"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_nothing()
    assert list(tmp_path.iterdir()) == []


def test_until_the_end_the_old_file_is_there_and_then_the_new_one(tmp_path):
    target = tmp_path / "song.txt"
    write_text(target, "old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".txt")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_folders_are_made_and_bytes_and_text_come_back(tmp_path):
    write_text(tmp_path / "a" / "b" / "Übung ♯.txt", "ü\n♯")
    write_bytes(tmp_path / "a" / "c.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "Übung ♯.txt").read_bytes() == "ü\n♯".encode()
    assert (tmp_path / "a" / "c.bin").read_bytes() == b"\x00\xff"


def test_a_very_long_name_can_be_replaced(tmp_path):
    target = tmp_path / ("n" * 250 + ".mid")
    write_bytes(target, b"x")
    assert target.read_bytes() == b"x"
