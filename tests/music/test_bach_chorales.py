"""The chorales exported from music21, which is the oracle of their notes and bars."""

import json
import time
from pathlib import Path

import pytest
from symusic import Note, Score, Track

from midifactory.errors import UserError
from midifactory.music import bach_chorales, chorales, statistics
from midifactory.music.bach_chorales import BachChorales
from midifactory.music.score import Limits, bar_starts, load_score, note_arrays, save_score


@pytest.fixture(scope="module")
def bach(tmp_path_factory):
    root = tmp_path_factory.mktemp("bach")
    return root, BachChorales(root, limit=6).collect(progress=False)


def test_limit_counts_scores_before_the_rule(bach):
    root, corpus = bach
    assert len(corpus.pieces) + len(corpus.rejected) + len(corpus.duplicates) == 6
    assert "bwv1.6" in {str(item.path) for item in corpus.rejected}  # a horn and four voices
    assert {path.stem for path in root.glob("*.mid")} == {piece.id for piece in corpus.pieces}


def test_exported_notes_are_those_of_music21(bach):
    from music21 import converter

    _, corpus = bach
    sources = bach_chorales._bach_sources()
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
    sources = bach_chorales._bach_sources()
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
    monkeypatch.setattr(bach_chorales, "_bach_sources", lambda: pytest.fail("exported again"))
    start = time.perf_counter()
    assert BachChorales(root, limit=6).collect(progress=False) == corpus
    assert time.perf_counter() - start < 0.3
    fewer = BachChorales(root, limit=5).collect(progress=False)
    assert {piece.id for piece in fewer.pieces} < {piece.id for piece in corpus.pieces}


def test_an_interrupted_export_goes_on_where_it_stopped(tmp_path, monkeypatch):
    whole = BachChorales(tmp_path / "whole", limit=6).collect(progress=False)
    real = bach_chorales.chorale_score
    converted = []

    def interrupted(source):
        if len(converted) == 2:
            raise KeyboardInterrupt
        converted.append(source)
        return real(source)

    root = tmp_path / "again"
    monkeypatch.setattr(bach_chorales, "chorale_score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        BachChorales(root, limit=6).collect(progress=False)
    first = {path.name: path.stat().st_mtime_ns for path in root.glob("*.mid")}
    assert first
    monkeypatch.setattr(bach_chorales, "chorale_score", real)
    corpus = BachChorales(root, limit=6).collect(progress=False)
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
    other = Score(480)
    other.tracks.append(Track("other", 0, False))
    other.tracks[0].notes.append(Note(0, 480, 60, 64))
    save_score(other, stale)
    mine = tmp_path / "my own.mid"
    mine.write_bytes(b"not of the export")
    found = BachChorales(tmp_path, limit=6).collect(progress=False)
    assert [piece.notes for piece in found.pieces] == [piece.notes for piece in corpus.pieces]
    assert stale.read_bytes() == corpus.pieces[0].path.read_bytes()
    assert mine.read_bytes() == b"not of the export"


def test_no_option_is_ignored(bach):
    root, corpus = bach
    with pytest.raises(UserError, match=r"archive=a\.zip does not go with data=bach_chorales"):
        BachChorales(root, archive="a.zip")
    most = max(piece.notes for piece in corpus.pieces)
    fewer = BachChorales(root, limit=6, limits=Limits(max_notes=most - 1)).collect(progress=False)
    assert [item.kind for item in fewer.rejected if item not in corpus.rejected] == ["too_many_notes"]
    with pytest.raises(UserError, match=r"none of the 6 MIDI files in data\.root=.* can be used"):
        BachChorales(root, limit=6, limits=Limits(max_notes=1)).collect(progress=False)
    in_one = BachChorales(root, limit=6, near_duplicates="group", group_by="bwv(10)[1-3]").collect(progress=False)
    assert len({piece.split for piece in in_one.pieces if piece.id[3:6] in ("101", "102", "103")}) == 1


def test_a_root_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        BachChorales(tmp_path / "file", limit=6).collect(progress=False)


@pytest.mark.slow
def test_all_chorales_are_those_of_the_committed_manifest(tmp_path):
    source = BachChorales(tmp_path)
    corpus = source.collect(progress=False)
    assert len(corpus.pieces) == bach_chorales.EXPECTED_COUNT
    manifest = Path(bach_chorales.__file__).with_name("bach_chorales.csv").read_text(encoding="utf-8")
    assert source.manifest(progress=False) == manifest
    assert set(bach_chorales.NEAR_COPIES.items()) <= set(corpus.duplicates)
    for piece in corpus.pieces:
        assert len(load_score(piece.path).tracks) == 4
