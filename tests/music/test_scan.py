"""Reading files with limits, and remembering what was read."""

import os
import struct
import sys
from pathlib import PurePosixPath

import numpy as np
import pytest
from symusic import Note, Score, Track

from midifactory.errors import UserError
from midifactory.music import scan
from midifactory.music.score import Limits, save_score


def tune(seed, notes=40):
    score = Score(480)
    score.tracks.append(Track("", 0, False))
    for beat, pitch in enumerate(np.random.default_rng(seed).integers(40, 80, notes).tolist()):
        score.tracks[0].notes.append(Note(beat * 480, 480, pitch, 64))
    return score


def midi(division=96, promised=1, tracks=1, claimed=None, body=b"\x00\x90\x3c\x40\x60\x80\x3c\x00"):
    """A MIDI file from its bytes, with lies where asked."""
    body += b"\x00\xff\x2f\x00"
    chunk = b"MTrk" + struct.pack(">I", len(body) if claimed is None else claimed) + body
    return b"MThd" + struct.pack(">IHHH", 6, 1, promised, division) + chunk * tracks


LONG = b"\xff\xff\xff\x7f"  # the longest delta time, 2^28 - 1 ticks
CASES = {
    "": midi(),
    " at 10,000 bpm": midi(body=b"\x00\xff\x51\x03\x00\x17\x70\x00\x90\x3c\x40\x60\x80\x3c\x00"),
    "unreadable": b"RIFF" + midi(),
    "truncated": midi(claimed=1000),
    "truncated header": midi()[:11],
    "truncated before its notes": midi(promised=2, body=b""),
    "smpte": midi(division=0xE728),
    "no_ticks_per_beat": midi(division=0),
    "no_notes": midi(body=b""),
    "too_many_tracks": midi(promised=300, tracks=300),
    "too_many_notes": midi(body=b"\x00\x90\x3c\x40\x01\x80\x3c\x00" * 101),
    "too_large": midi(body=b"\x00\xff\x01\x7f" + b"x" * 127) * 200,
    "too_long": midi(body=b"\x00\x90\x3c\x40" + LONG + b"\x80\x3c\x00"),
    "tempo_out_of_range": midi(body=b"\x00\xff\x51\x03\x00\x00\x00\x00\x90\x3c\x40\x60\x80\x3c\x00"),
    "tempo_out_of_range by a little": midi(body=b"\x00\xff\x51\x03\x00\x17\x6f\x00\x90\x3c\x40\x60\x80\x3c\x00"),
    "times_out_of_range": midi(body=(LONG + b"\x90\x3c\x40" + LONG + b"\x80\x3c\x00") * 6),
}


@pytest.mark.parametrize("name", CASES)
def test_every_refusal_has_its_type(tmp_path, name):
    path = tmp_path / "a.mid"
    path.write_bytes(CASES[name])
    found = scan.scan_file(path, Limits(max_notes=100, max_megabytes=0.01))
    assert found.kind == name.split(" ")[0]
    assert bool(found.reason) == bool(found.kind)


def test_what_is_no_file_is_refused(tmp_path):
    assert scan.scan_file(tmp_path / "missing.mid", Limits()).kind == "cannot_open"
    assert scan.scan_file(tmp_path, Limits()).kind == "not_a_file"
    assert scan.scan_file(tmp_path / "zero\0.mid", Limits()).kind == "cannot_open"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mid")
        assert scan.scan_file(tmp_path / "pipe.mid", Limits()).kind == "not_a_file"


@pytest.mark.parametrize(
    "name", ["max_megabytes", "max_tracks", "max_notes", "max_hours", "max_tokens", "seconds_per_file"]
)
@pytest.mark.parametrize("value", [0, -1, float("nan"), "5", None, True])
def test_limits_that_let_no_file_pass_are_refused(name, value):
    with pytest.raises(UserError, match=rf"data\.limits\.{name}="):
        Limits(**{name: value})


@pytest.fixture
def reads(monkeypatch):
    """The paths that were really read, in this process."""
    read = []
    real = scan.scan_file

    def counting(path, limits):
        read.append(path.name)
        return real(path, limits)

    monkeypatch.setattr(scan, "scan_file", counting)
    return read


def test_only_new_and_changed_files_are_read_again(tmp_path, reads):
    paths = [tmp_path / f"{index}.mid" for index in range(6)]
    for index, path in enumerate(paths[:5]):
        save_score(tune(index), path)
    (tmp_path / "0.mid").write_bytes(b"broken")
    options = {"limits": Limits(), "workers": 0, "cache_root": tmp_path / "cache", "progress": False}
    first = scan.scan_files("a b/c", paths[:5], **options)
    assert reads == [path.name for path in paths[:5]]
    assert scan.scan_files("a b/c", paths[:5], **options) == first
    assert len(reads) == 5
    save_score(tune(5), paths[5])
    save_score(tune(9, notes=41), paths[2])
    again = scan.scan_files("a b/c", paths, **options)
    assert reads[5:] == ["2.mid", "5.mid"]
    assert again[2].notes == 41
    assert [item for place, item in enumerate(again[:5]) if place != 2] == [*first[:2], *first[3:]]
    scan.scan_files("a b/c", paths, **(options | {"limits": Limits(max_tokens=5)}))
    assert len(reads) == 7
    strict = scan.scan_files("a b/c", paths, **(options | {"limits": Limits(max_notes=40)}))
    assert len(reads) == 13
    assert [item.kind for item in strict] == ["unreadable", "", "too_many_notes", "", "", ""]


def test_an_interrupted_scan_keeps_what_it_read_and_a_broken_cache_is_made_anew(tmp_path, reads, monkeypatch):
    paths = [tmp_path / f"{index}.mid" for index in range(4)]
    for index, path in enumerate(paths):
        save_score(tune(index), path)
    options = {"limits": Limits(), "workers": 0, "cache_root": tmp_path, "progress": False}
    counting = scan.scan_file

    def interrupted(path, limits):
        if path == paths[2]:
            raise KeyboardInterrupt
        return counting(path, limits)

    monkeypatch.setattr(scan, "scan_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scan.scan_files("x", paths, **options)
    monkeypatch.setattr(scan, "scan_file", counting)
    scan.scan_files("x", paths, **options)
    assert reads == [path.name for path in paths]
    (tmp_path / "x.parquet").write_bytes(b"broken")
    scan.scan_files("x", paths, **options)
    assert len(reads) == 8


def test_what_may_pass_is_tried_again(tmp_path):
    save_score(tune(1), tmp_path / "a.mid")
    options = {"limits": Limits(), "workers": 0, "cache_root": tmp_path, "progress": False}
    missing = scan.scan_files("x", [tmp_path / "a.mid", tmp_path / "b.mid"], **options)
    assert [item.kind for item in missing] == ["", "cannot_open"]
    cache = scan._Cache(tmp_path, "x", Limits())
    assert len(cache.rows) == 1


def test_a_cache_that_cannot_be_written_is_a_mistake_in_one_line(tmp_path):
    save_score(tune(1), tmp_path / "a.mid")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"data\.cache_root=.* cannot be written"):
        scan.scan_files("x", [tmp_path / "a.mid"], limits=Limits(), workers=0, cache_root=tmp_path / "file")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_file_that_exhausts_memory_costs_itself_only(tmp_path):
    # 38,000,000 bars of one tick each, in two hours at 10,000 beats a minute.
    bars = (
        b"\x00\xff\x58\x04\x01\x07\x18\x08"
        + b"\x00\xff\x51\x03\x00\x17\x70"
        + b"\x00\x90\x3c\x40"
        + b"\x92\x8f\xab\x00"
        + b"\x80\x3c\x00"
    )
    (tmp_path / "bomb.mid").write_bytes(midi(division=32, body=bars))
    for index in range(3):
        save_score(tune(index), tmp_path / f"{index}.mid")
    paths = sorted(tmp_path.glob("*.mid"))
    found = scan.scan_files("x", paths, limits=Limits(), progress=False)
    assert [item.kind for item in found] == ["", "", "", "out_of_memory"]
    assert "500 MB" in found[3].reason


def test_no_escape_of_a_name_is_another_name():
    """Every character that could be taken for another's escape, alone and in pairs."""
    letters = [
        "a",
        "\\",
        "x",
        "\x1b",
        "\n",
        "\x85",
        "\udc85",
        "\udcff",
        "\u202e",
        "\ud800",
        "\\x1b",
        "\\xff",
        "\\u0085",
    ]
    names = {first + second for first in ["", *letters] for second in letters}
    ids = {scan.file_id(PurePosixPath(name)) for name in names}
    assert len(ids) == len(names)
    assert all(text.isprintable() and text.encode() for text in ids)
    assert scan.printable("Übung ♯/b\xa0.mid") == "Übung ♯/b\xa0.mid"
