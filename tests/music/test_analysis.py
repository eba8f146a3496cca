"""Corpora whose chords, keys, metres and grids are known because they were made here."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from midifactory.music.analysis import (
    GRIDS,
    SPANS_SECONDS,
    Analysis,
    analyze_corpus,
    analyze_piece,
    chord_counts,
    grid_errors,
    metre_counts,
    recommend,
    tempo_agreement,
)
from midifactory.music.corpora import Piece
from midifactory.music.profile import corpus_profile
from midifactory.music.score import Limits, save_score
from midifactory.music.statistics import corpus_statistics, key_estimate, piece_statistics


def chords_of(score_from, chords, length=2, octave=48):
    """One chord every half bar of 4/4; each is (root, steps)."""
    notes = [
        (length * index, length, octave + root + step, 80)
        for index, (root, steps) in enumerate(chords)
        for step in steps
    ]
    return score_from([(0, notes)])


@pytest.mark.parametrize("tonic", [0, 2, 5, 11])
def test_chords_and_degrees_of_a_cadence_in_any_key(score_from, tonic):
    cadence = [
        (0, (0, 4, 7)),
        (9, (0, 3, 7)),
        (5, (0, 4, 7, 11)),
        (2, (0, 3, 7, 10)),
        (7, (0, 4, 7, 10)),
        (11, (0, 3, 6)),
    ]
    score = chords_of(score_from, [(root + tonic, steps) for root, steps in [*cadence, (0, (0, 4, 7))]])
    qualities, degrees = chord_counts(score, key_estimate(score))
    assert qualities == {"major": 2, "minor": 1, "maj7": 1, "m7": 1, "7": 1, "dim": 1}
    assert degrees == {"I": 2, "vi": 1, "IVmaj7": 1, "ii7": 1, "V7": 1, "vii°": 1}


def test_the_lowest_note_names_the_root_of_an_augmented_chord(score_from):
    score = chords_of(score_from, [(4, (0, 4, 8)), (8, (0, 4, 8))])
    assert chord_counts(score, "C major")[1] == {"III+": 1, "bVI+": 1}


def test_no_chord_in_clusters_in_two_notes_in_drums_and_silence(score_from):
    score = chords_of(score_from, [(0, (0, 1, 2, 3)), (0, (0, 7))])
    assert chord_counts(score, "C major") == ({"none": 2}, {})
    drums = score_from([(-1, [(beat, 1, 36 + beat, 80) for beat in range(8)])])
    assert chord_counts(drums, "unknown") == ({}, {})
    late = score_from([(0, [(40, 2, pitch, 80) for pitch in (60, 64, 67)])])  # ten bars of silence first
    assert chord_counts(late, "C major")[0] == {"major": 1}


def test_a_held_chord_is_heard_in_every_half_bar(score_from):
    score = score_from([(0, [(0, 12, pitch, 80) for pitch in (60, 64, 67)])])
    assert chord_counts(score, "C major") == ({"major": 6}, {"I": 6})


def test_metres_count_bars(hand_scores):
    assert metre_counts(hand_scores["metres"]) == {"4/4": 2, "3/4": 3, "6/8": 4}


@pytest.mark.parametrize(("grid", "on"), [(4, (4, 8, 12, 16, 24)), (3, (3, 6, 12, 24)), (8, (8, 16, 24))])
def test_music_on_a_grid_costs_nothing_on_its_multiples(score_from, grid, on):
    errors = grid_errors(score_from([(0, [(step / grid, 0.1, 60 + step % 12, 80) for step in range(64)])]))
    assert [places for places, (error, _) in zip(GRIDS, errors, strict=True) if error < 1e-6] == list(on)


def test_the_error_of_a_grid_is_measured_in_ms_through_tempo_changes(score_from):
    # A triplet eighth moved to the sixteenth grid: 1/12 beat, at 120 bpm 41.7 ms, at 60 bpm 83.3 ms.
    score = score_from([(0, [(1 / 3, 0.1, 60, 80), (4 + 1 / 3, 0.1, 60, 80)])], tempos=((0, 120), (4, 60)))
    errors = dict(zip(GRIDS, grid_errors(score).tolist(), strict=True))
    assert errors[4] == pytest.approx([1000 / 12 * (0.5 + 1), 2], rel=1e-3)
    assert errors[16][0] == pytest.approx(1000 / 48 * (0.5 + 1), rel=1e-3)
    assert errors[16][1] == 1  # 20.8 ms at 60 bpm, 10.4 ms at 120


@pytest.mark.parametrize(
    ("estimated", "expected"),
    [(100, "same"), (103, "same"), (50, "related"), (198, "related"), (300, "related"), (34, "related"), (75, "other")],
)
def test_tempo_agreement(estimated, expected):
    assert tempo_agreement(estimated, 100.0) == expected
    assert tempo_agreement(float("nan"), 100.0) == "unknown"


@pytest.fixture
def pieces(midi_files):
    return [Piece(name, path, "train", 1) for name, path in midi_files]


def test_a_corpus_is_the_sum_of_its_pieces(pieces, hand_scores):
    analysis = analyze_corpus("hand", pieces, progress=False)
    found = json.loads(json.dumps(analysis.to_dict(), allow_nan=False))
    scores = list(hand_scores.values())
    notes = sum(score.note_num() for score in scores)
    assert sum(row["notes"] for row in found["programs"]) == analysis.grid_notes == notes
    assert sum(found["histograms"]["velocity"]["counts"]) == sum(found["histograms"]["onset_place"]["counts"]) == notes
    assert sum(found["histograms"]["pitch"]["counts"]) == analysis.pitch_counts().sum()
    assert notes - analysis.pitch_counts().sum() == analysis.pitch_counts(drums=True).sum() > 0
    assert sum(found["metres_in_bars"].values()) == sum(row["bars"] for row in found["pieces"])
    assert sum(found["tempo_agreement"].values()) == sum(found["keys"].values()) == len(pieces)
    assert Counter(row["key"] for row in found["pieces"]) == found["keys"]
    assert found["profile"] == corpus_profile([piece.path for piece in pieces])
    by_hand = corpus_statistics([piece_statistics(hand_scores[piece.id]) for piece in pieces])
    assert {name: found["statistics"][name] for name in by_hand} == {
        name: {key: pytest.approx(value, rel=1e-4) for key, value in row.items()} for name, row in by_hand.items()
    }
    assert [row["per_beat"] for row in found["grid"]] == list(GRIDS)


def test_worker_processes_count_the_same(pieces):
    here = analyze_corpus("hand", pieces, workers=0, progress=False).to_dict()
    assert analyze_corpus("hand", pieces, workers=1, progress=False).to_dict() == here


def test_a_file_that_broke_since_is_listed(pieces, tmp_path):
    (tmp_path / "a.mid").write_bytes(b"no music")
    broken = Piece("broken", tmp_path / "a.mid", "train", 1)
    analysis = analyze_corpus("hand", [broken, pieces[0]], progress=False)
    assert [row["id"] for row in analysis.pieces] == [pieces[0].id]
    assert analysis.failed[0][0] == "broken"
    assert "MIDI" in analysis.failed[0][1]


def test_notes_without_length_are_no_trouble(score_from, tmp_path):
    analysis = write(tmp_path, score_from([(0, [(0, 0, 60, 80)])]))
    assert [row["notes"] for row in analysis.pieces] == [1]
    assert recommend(analysis)
    json.dumps(analysis.to_dict(), allow_nan=False)


def test_a_number_that_is_not_finite_is_null(pieces):
    """JSON has no infinity, which a tempo of no length would be."""
    found = analyze_piece(pieces[0].path)
    found.statistics["tempo_bpm"] = float("inf")
    analysis = Analysis("one")
    analysis.add("a", found)
    listing = json.loads(json.dumps(analysis.to_dict(), allow_nan=False))
    assert listing["pieces"][0]["tempo_bpm"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_piece_that_takes_too_much_memory_is_listed(pieces, score_from, tmp_path):
    """A held note over 40,000 bars of 1/64 is a small file; its bars are many."""
    save_score(score_from([(0, [(0, 2500, 60, 80)])], metres=((0, 1, 64),)), tmp_path / "a.mid")
    held = Piece("held", tmp_path / "a.mid", "train", 1)
    limits = Limits(memory_megabytes=0.5)
    analysis = analyze_corpus("hand", [held], workers=1, limits=limits, progress=False)
    assert [piece for piece, _ in analysis.failed] == ["held"]
    assert "memory" in analysis.failed[0][1]
    assert [row["id"] for row in analyze_corpus("hand", [held], 1, progress=False).pieces] == ["held"]


def write(folder: Path, score) -> Analysis:
    save_score(score, folder / "a.mid")
    analysis = Analysis("one")
    analysis.add("a", analyze_piece(folder / "a.mid"))
    return analysis


def advice(analysis, tokens_per_note=None):
    return {item.setting: item for item in recommend(analysis, tokens_per_note)}


def test_segments_hold_about_eight_bars_and_fit_the_context(score_from, tmp_path):
    # 120 bpm: bars of 2 s, eight of them 16 s; four notes a beat of half a second: 128 notes in 16 s.
    tune = [(step / 4, 0.25, 60 + step % 12, 80) for step in range(4 * 240)]
    found = advice(write(tmp_path, score_from([(0, tune)])), 4.0)
    assert found["segment length"].overrides == ("data.segment.unit=seconds", "data.segment.length=16")
    assert found["context"].overrides == ("data.max_tokens=512",)
    assert "512 tokens" in found["context"].reason
    assert "counted" in found["context"].reason
    assert found["pitch range"].overrides == ("tokenizer.pitch_range=[60,72]",)
    # Eight such voices: 16 s no longer fit into 2,048 tokens, so the segments get shorter.
    thick = [(program, [(o, d, p + program, v) for o, d, p, v in tune]) for program in range(8)]
    found = advice(write(tmp_path, score_from(thick)))
    assert found["segment length"].overrides[1] == "data.segment.length=6"
    assert found["context"].overrides == ("data.max_tokens=2048",)
    assert "assumed" in found["context"].reason


def test_spans_count_what_lies_in_them(score_from, tmp_path):
    analysis = write(tmp_path, score_from([(0, [(beat, 1, 60, 80) for beat in range(256)])]))
    assert {length: analysis.span_notes(length, 0.5) for length in SPANS_SECONDS} == {
        length: 2 * length for length in SPANS_SECONDS
    }


@pytest.mark.parametrize(("steps", "expected"), [((4,), 4), ((4, 8), 8), ((4, 3), 12), ((16,), 16)])
def test_the_coarsest_grid_that_holds_the_rhythm(score_from, tmp_path, steps, expected):
    notes = [
        (beat + place / step, 0.05, 60 + beat % 12, 80)
        for beat in range(32)
        for step in [steps[beat % len(steps)]]
        for place in range(step)
    ]
    found = advice(write(tmp_path, score_from([(0, notes)], tempos=((0, 90),))))
    assert found["beat resolution"].value == f"{expected} per beat"


def test_played_music_gets_a_grid_within_its_noise(score_from, tmp_path):
    onsets = np.sort(np.random.default_rng(0).uniform(0, 200, 800))
    found = advice(write(tmp_path, score_from([(0, [(onset, 0.2, 60, 80) for onset in onsets])])))
    # At 120 bpm 12 places a beat are 41.7 ms apart: 10.4 ms on average; 16 are 31.3 ms apart, at most 15.6 ms away.
    assert found["beat resolution"].value == "16 per beat"


def test_drums_have_a_range_and_no_pitch_range(score_from, tmp_path):
    found = advice(write(tmp_path, score_from([(-1, [(beat, 1, 36 + beat % 9, 80) for beat in range(40)])])))
    assert "pitch range" not in found
    assert found["drums pitch range"].overrides == ("tokenizer.drums_pitch_range=[36,45]",)


def test_nothing_is_advised_for_nothing():
    assert recommend(Analysis("empty")) == []
    json.dumps(Analysis("empty").to_dict(), allow_nan=False)
