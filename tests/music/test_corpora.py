"""Collecting a folder and the chorales: every file is accounted for, no music stands on two sides of a split."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from symusic import Note, Score, Tempo, Track

from midifactory.errors import UserError
from midifactory.music import chorales, corpora, statistics
from midifactory.music.score import bar_starts, load_score, note_arrays, save_score


def melody(pitches, ticks_per_quarter=480, program=0):
    score = Score(ticks_per_quarter)
    track = Track("melody", program, False)
    for index, pitch in enumerate(pitches):
        track.notes.append(Note(index * ticks_per_quarter, ticks_per_quarter // 2, pitch, 70))
    score.tracks.append(track)
    return score


@pytest.fixture
def folder(tmp_path):
    """Five different pieces in nested folders, one copy, two broken files and one that is no MIDI."""
    for index, name in enumerate(["a.mid", "b.MIDI", "sub/c.Mid", "sub/deep/d.midi", "z.mid"]):
        save_score(melody(range(60 + index, 70)), tmp_path / name)
    save_score(melody(range(60, 70), ticks_per_quarter=96), tmp_path / "sub/copy of a.mid")
    (tmp_path / "empty.mid").touch()
    (tmp_path / "words.mid").write_text("no music", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no MIDI", encoding="utf-8")
    return tmp_path


def test_every_file_is_a_piece_a_duplicate_or_rejected(folder):
    corpus = corpora.Folder(folder).collect(progress=False)
    assert [piece.id for piece in corpus.pieces] == ["a.mid", "b.MIDI", "sub/c.Mid", "sub/deep/d.midi", "z.mid"]
    assert [piece.notes for piece in corpus.pieces] == [10, 9, 8, 7, 6]
    assert corpus.duplicates == (("sub/copy of a.mid", "a.mid"),)
    assert [item.path.name for item in corpus.rejected] == ["empty.mid", "words.mid"]
    assert all("not a valid MIDI file" in item.reason for item in corpus.rejected)
    assert all(piece.path.is_file() for piece in corpus.pieces)
    assert [len(corpus.of(split)) for split in corpora.SPLITS] == [3, 1, 1]
    assert corpus.name == folder.name
    for part in ("5 pieces", "40 notes", "3 train", "2 rejected", "1 duplicates"):
        assert part in corpus.summary()
    with pytest.raises(UserError, match="'valid' is unknown; use one of train"):
        corpus.of("valid")


def test_worker_processes_find_the_same(folder):
    here = corpora.Folder(folder, workers=0).collect(progress=False)
    assert corpora.Folder(folder, workers=2).collect(progress=False) == here


def test_limit_takes_the_first_files_of_the_sorted_list(folder):
    corpus = corpora.Folder(folder, limit=4, name="few").collect(progress=False)
    assert [piece.id for piece in corpus.pieces] == ["a.mid", "b.MIDI", "sub/c.Mid"]
    assert [item.path.name for item in corpus.rejected] == ["empty.mid"]
    assert corpus.name == "few"


@pytest.mark.skipif(not hasattr(os, "symlink") or sys.platform == "win32", reason="needs symbolic links")
def test_links_to_files_count_and_loops_of_folders_end(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "far.mid"
    save_score(melody([40, 50, 60]), outside)
    (folder / "linked.mid").symlink_to(outside)
    (folder / "sub/loop").symlink_to(folder)
    (folder / "broken.mid").symlink_to(folder / "nowhere.mid")
    corpus = corpora.Folder(folder).collect(progress=False)
    assert "linked.mid" in {piece.id for piece in corpus.pieces}
    assert len(corpus.pieces) == 6
    assert "broken.mid" in {item.path.name for item in corpus.rejected}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_gets_a_printable_id(folder):
    (folder / "a.mid").rename(os.fsdecode(os.fsencode(folder) + b"/\xff.mid"))
    corpus = corpora.Folder(folder).collect(progress=False)
    assert "\\xff.mid" in {key for pair in corpus.duplicates for key in pair}
    corpus.pieces[0].id.encode("utf-8")


def test_a_home_folder_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert len(corpora.Folder(f"~/{folder.name}").collect(progress=False).pieces) == 5


@pytest.mark.parametrize("root", [None, "", "???"])
def test_a_root_that_is_not_set(root):
    with pytest.raises(UserError, match=r"data\.root is not set.*data\.root=my_midis"):
        corpora.Folder(root).collect(progress=False)


def test_mistakes_with_the_folder_are_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        corpora.Folder(tmp_path / "missing").collect(progress=False)
    with pytest.raises(UserError, match=r"holds no \.mid or \.midi files"):
        corpora.Folder(tmp_path).collect(progress=False)
    (tmp_path / "a.mid").write_bytes(b"broken")
    with pytest.raises(UserError, match="is a file, not a folder"):
        corpora.Folder(tmp_path / "a.mid").collect(progress=False)
    (tmp_path / "b.mid").write_bytes(b"")
    with pytest.raises(UserError, match=r"none of the 2 MIDI files .* \(the first, a\.mid: not a valid MIDI file"):
        corpora.Folder(tmp_path).collect(progress=False)
    save_score(melody([60]), tmp_path / "c.mid")
    with pytest.raises(UserError, match="1 pieces cannot fill train, validation and test; at least 3"):
        corpora.Folder(tmp_path).collect(progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit=0"),
        ({"workers": -1}, "workers=-1"),
        ({"fractions": (0.9, 0.1)}, "three numbers above 0"),
        ({"fractions": (1, 0, 0)}, "three numbers above 0"),
        ({"fractions": (0.8, 0.1, 0.2)}, r"sum to 1\.1"),
    ],
)
@pytest.mark.parametrize("kind", [corpora.Folder, corpora.BachChorales])
def test_impossible_options_are_refused_at_once(kind, options, message):
    with pytest.raises(UserError, match=message):
        kind("anywhere", **options)


# --- splits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 4, 7, 10, 11, 359])
@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.34, 0.33, 0.33), (0.98, 0.01, 0.01)])
def test_splits_are_a_partition_of_the_right_sizes(count, fractions):
    ids = [f"piece {index}" for index in range(count)]
    splits = corpora.split_pieces(ids, fractions, seed=1)
    assert set(splits) == set(ids)
    for split, fraction in zip(corpora.SPLITS, fractions, strict=True):
        size = sum(value == split for value in splits.values())
        assert size >= 1
        assert abs(size - fraction * count) < 2.01


def test_splits_depend_on_the_seed_and_not_on_the_order():
    ids = [f"piece {index}" for index in range(50)]
    splits = corpora.split_pieces(ids, seed=3)
    np.random.seed(9)  # noqa: NPY002  the global generator must not matter
    assert corpora.split_pieces(reversed(ids), seed=3) == splits
    assert corpora.split_pieces(ids, seed=4) != splits


@pytest.mark.parametrize("ids", [[], ["a"], ["a", "b", "a"]])
def test_fewer_than_three_pieces_cannot_be_split(ids):
    with pytest.raises(UserError, match=f"{len(set(ids))} pieces .* at least 3 .* add MIDI files"):
        corpora.split_pieces(ids)


# --- content ---------------------------------------------------------------------------------------------


def test_the_hash_is_of_the_music_and_not_of_the_file(tmp_path):
    score = melody([60, 64, 67])
    copy = melody([60, 64, 67], ticks_per_quarter=960)
    copy.tracks[0].name = "another name"
    copy.tempos.append(Tempo(0, 77))
    save_score(copy, tmp_path / "a.mid")
    assert corpora.content_hash(load_score(tmp_path / "a.mid")) == corpora.content_hash(score)


def test_the_hash_changes_with_pitch_time_length_and_instrument():
    later, longer = melody([60, 64, 67]), melody([60, 64, 67])
    later.tracks[0].notes[2].time += 1
    longer.tracks[0].notes[2].duration += 1
    drums = melody([60, 64, 67])
    drums.tracks[0].is_drum = True
    others = [melody([60, 64, 68]), later, longer, drums, melody([60, 64, 67], program=5), melody([60, 64])]
    assert len({corpora.content_hash(score) for score in [melody([60, 64, 67]), *others]}) == 7


def test_a_transposed_copy_is_the_same_in_any_key_only():
    here, there = melody([60, 64, 67]), melody([65, 69, 72])
    assert corpora.content_hash(here) != corpora.content_hash(there)
    assert corpora.content_hash(here, any_key=True) == corpora.content_hash(there, any_key=True)
    assert corpora.content_hash(here, any_key=True) != corpora.content_hash(melody([60, 63, 67]), any_key=True)


# --- worker processes ------------------------------------------------------------------------------------


def dies_over_two(item):
    """Stands for a parser that crashes on one file; at module level, as a worker process imports it."""
    if item == 2:
        os._exit(11)
    return corpora._Inspected(notes=item)


def test_a_worker_that_dies_loses_only_its_own_file():
    results = corpora._in_workers(dies_over_two, range(8), workers=2, progress=False, label="")
    assert [item.notes for item in results if not item.reason] == [0, 1, 3, 4, 5, 6, 7]
    assert results[2].reason == "ended the process that read it"


# --- Bach ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bach(tmp_path_factory):
    root = tmp_path_factory.mktemp("bach")
    return root, corpora.BachChorales(root, limit=6).collect(progress=False)


def test_limit_counts_scores_before_the_rule(bach):
    root, corpus = bach
    assert len(corpus.pieces) + len(corpus.rejected) + len(corpus.duplicates) == 6
    assert "bwv1.6" in {str(item.path) for item in corpus.rejected}  # a horn and four voices
    assert {path.stem for path in root.glob("*.mid")} == {piece.id for piece in corpus.pieces}


def test_exported_notes_are_those_of_music21(bach):
    from music21 import converter

    _, corpus = bach
    sources = corpora._bach_sources()
    for piece in corpus.pieces:
        score = load_score(piece.path)
        assert [track.name for track in score.tracks] == list(chorales.VOICES)
        assert [track.program for track in score.tracks] == list(chorales.PROGRAMS)
        for track, part in zip(score.tracks, converter.parse(sources[piece.id], forceSource=True).parts, strict=True):
            measures = list(part.getElementsByClass("Measure"))
            shift = measures[0].barDuration.quarterLength - measures[0].duration.quarterLength
            expected = [
                ((note.offset + shift) * 480, note.quarterLength * 480, note.pitch.midi)
                for note in part.stripTies().flatten().notes
            ]
            assert [(note.time, note.duration, note.pitch) for note in track.notes] == expected
        assert set(note_arrays(score)["velocity"]) == {80}
        assert [tempo.qpm for tempo in score.tempos] == [80]


def test_a_pickup_ends_a_whole_first_bar(bach):
    from music21 import converter

    _, corpus = bach
    sources = corpora._bach_sources()
    with_pickup = 0
    for piece in corpus.pieces:
        score = load_score(piece.path)
        starts = set(bar_starts(score).tolist())
        measures = list(converter.parse(sources[piece.id], forceSource=True).parts[0].getElementsByClass("Measure"))
        shift = measures[0].barDuration.quarterLength - measures[0].duration.quarterLength
        with_pickup += shift > 0
        whole = [measure for measure in measures if measure.duration == measure.barDuration]
        assert whole
        assert {int((measure.offset + shift) * 480) for measure in whole} <= starts
        assert note_arrays(score)["onset"][0] == shift * 480
        assert statistics.bars_with_voices(score) > 0.9
    assert with_pickup >= 2


def music21_score(voices, names=chorales.VOICES):
    """A music21 score of tinyNotation lines."""
    from music21 import converter, stream

    score = stream.Score()
    for line, name in zip(voices, names, strict=True):
        part = converter.parse(f"tinynotation: {line}")
        part.partName = name
        score.insert(0, part)
    return score


def test_ties_merge_and_a_short_bar_gets_a_metre_of_its_own():
    from music21 import note, stream

    score = music21_score(["4/4 c'1~ c'4 d' e' f' g'1"] * 4)
    for part in score.parts:
        last = part.getElementsByClass("Measure")[2]
        part.remove(last)
        short = stream.Measure(number=3)
        short.append(note.Note("A4", quarterLength=1.5))
        part.insert(8, short)
        part.insert(9.5, last)
    found = chorales.chorale_score(score)
    assert [(item.time, item.numerator, item.denominator) for item in found.time_signatures] == [
        (0, 4, 4),
        (8 * 480, 3, 8),
        (round(9.5 * 480), 4, 4),
    ]
    assert bar_starts(found).tolist() == [0, 4 * 480, 8 * 480, round(9.5 * 480)]
    assert found.tracks[0].notes[0].duration == 5 * 480


def test_what_is_no_chorale_says_why():
    from midifactory.music.score import UnreadableMidi

    with pytest.raises(UnreadableMidi, match="parts: Horn, Alto"):
        chorales.chorale_score(music21_score(["4/4 c1", "4/4 c1"], ["Horn", "Alto"]))
    with pytest.raises(UnreadableMidi, match="Tenor is silent"):
        chorales.chorale_score(music21_score(["4/4 c1", "4/4 c1", "4/4 r1", "4/4 c1"]))


def test_a_finished_cache_opens_without_music21(bach, monkeypatch):
    root, corpus = bach
    monkeypatch.setattr(corpora, "_bach_sources", lambda: pytest.fail("exported again"))
    start = time.perf_counter()
    assert corpora.BachChorales(root, limit=6).collect(progress=False) == corpus
    assert time.perf_counter() - start < 0.3
    fewer = corpora.BachChorales(root, limit=5).collect(progress=False)
    assert {piece.id for piece in fewer.pieces} < {piece.id for piece in corpus.pieces}


def test_an_interrupted_export_goes_on_where_it_stopped(tmp_path, monkeypatch):
    whole = corpora.BachChorales(tmp_path / "whole", limit=6).collect(progress=False)
    real = corpora.chorale_score
    converted = []

    def interrupted(source):
        if len(converted) == 2:
            raise KeyboardInterrupt
        converted.append(source)
        return real(source)

    root = tmp_path / "again"
    monkeypatch.setattr(corpora, "chorale_score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        corpora.BachChorales(root, limit=6).collect(progress=False)
    first = {path.name: path.stat().st_mtime_ns for path in root.glob("*.mid")}
    assert first
    monkeypatch.setattr(corpora, "chorale_score", real)
    corpus = corpora.BachChorales(root, limit=6).collect(progress=False)
    assert [(piece.id, piece.split, piece.notes) for piece in corpus.pieces] == [
        (piece.id, piece.split, piece.notes) for piece in whole.pieces
    ]
    assert {name: (root / name).stat().st_mtime_ns for name in first} == first


@pytest.mark.parametrize("change", [{"format": -1}, {"music21": "1.0"}, None])
def test_a_cache_of_another_version_is_exported_again(bach, tmp_path, change):
    root, corpus = bach
    index = json.loads((root / "index.json").read_text(encoding="utf-8"))
    text = json.dumps(index | change) if change else "{broken"
    (tmp_path / "index.json").write_text(text, encoding="utf-8")
    stale = tmp_path / corpus.pieces[0].path.name
    save_score(melody([1, 2, 3]), stale)
    mine = tmp_path / "my own.mid"
    mine.write_bytes(b"not of the export")
    found = corpora.BachChorales(tmp_path, limit=6).collect(progress=False)
    assert [piece.notes for piece in found.pieces] == [piece.notes for piece in corpus.pieces]
    assert stale.read_bytes() == corpus.pieces[0].path.read_bytes()
    assert mine.read_bytes() == b"not of the export"


def test_a_root_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        corpora.BachChorales(tmp_path / "file", limit=6).collect(progress=False)


@pytest.mark.slow
def test_all_chorales_are_those_of_the_committed_manifest(tmp_path):
    source = corpora.BachChorales(tmp_path)
    corpus = source.collect(progress=False)
    assert len(corpus.pieces) == corpora.EXPECTED_COUNT
    manifest = Path(corpora.__file__).with_name("bach_chorales.csv").read_text(encoding="utf-8")
    assert source.manifest(progress=False) == manifest
    assert set(corpora.NEAR_COPIES.items()) <= set(corpus.duplicates)
    for piece in corpus.pieces:
        assert len(load_score(piece.path).tracks) == 4
