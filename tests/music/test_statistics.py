"""Statistics of pieces small enough to count by hand, and music21 as a second opinion on keys."""

import json
import math

import numpy as np
import pytest
from symusic import Note, Score, Tempo, TimeSignature, Track

from midifactory.music import statistics
from midifactory.music.score import load_score, save_score


def make_score(*tracks, ticks_per_quarter=480, tempo_bpm=120.0):
    """A 4/4 score; each track is (program, is_drum, [(onset_beats, duration_beats, pitch)])."""
    score = Score(ticks_per_quarter)
    for program, is_drum, notes in tracks:
        track = Track("", program, is_drum)
        for onset, duration, pitch in notes:
            track.notes.append(Note(round(onset * ticks_per_quarter), round(duration * ticks_per_quarter), pitch, 80))
        score.tracks.append(track)
    score.tempos.append(Tempo(0, tempo_bpm))
    score.time_signatures.append(TimeSignature(0, 4, 4))
    return score


def test_a_scale_counted_by_hand():
    scale = [60, 62, 64, 65, 67, 69, 71, 72]
    found = statistics.piece_statistics(make_score((0, False, [(i, 0.5, pitch) for i, pitch in enumerate(scale)])))
    assert found["notes"] == 8
    assert found["bars"] == 2
    assert found["tempo_bpm"] == pytest.approx(120)
    assert found["duration_seconds"] == pytest.approx(3.75)  # 7.5 beats of half a second
    assert found["notes_per_beat"] == pytest.approx(8 / 7.5)
    assert (found["pitch_lowest"], found["pitch_highest"], found["pitch_range"]) == (60, 72, 12)
    assert found["pitch_mean"] == pytest.approx(np.mean(scale))
    # C twice among eight notes, six others once.
    assert found["pitch_class_entropy_bits"] == pytest.approx(-(0.25 * math.log2(0.25) + 6 / 8 * math.log2(1 / 8)))
    assert found["scale_consistency"] == 1
    assert found["duration_mean_beats"] == found["duration_median_beats"] == 0.5
    assert found["duration_entropy_bits"] == found["onset_position_entropy_bits"] == 0
    assert found["onset_interval_mean_beats"] == 1
    assert found["onsets_on_beat_share"] == 1
    assert found["groove_consistency"] == 1  # both bars have onsets on all four beats
    assert found["polyphony_mean"] == 1
    assert found["velocity_mean"] == 80
    assert found["programs"] == 1
    assert found["empty_bars_share"] == 0


def test_polyphony_rests_and_positions():
    # A chord of three for two beats, a bar and a half of rest, one note on an off-beat, drums in the last bar.
    piano = (0, False, [(0, 2, 60), (0, 2, 64), (0, 2, 67), (8.5, 1, 61)])
    found = statistics.piece_statistics(make_score(piano, (0, True, [(8.5, 1, 36)])))
    assert found["polyphony_mean"] == pytest.approx((3 * 2 + 2 * 1) / 3)
    assert found["empty_bars_share"] == pytest.approx(1 / 3)
    assert found["onsets_on_beat_share"] == pytest.approx(3 / 5)
    assert found["onset_interval_mean_beats"] == 8.5
    assert found["programs"] == 2  # drums are not the piano, though both have program 0
    assert found["pitch_lowest"] == 60  # the drum's 36 is no pitch
    assert found["scale_consistency"] == pytest.approx(3 / 4)
    assert found["groove_consistency"] == pytest.approx(1 - 1 / 48)  # one cell differs in each pair of bars


@pytest.mark.parametrize("seed", range(5))
def test_polyphony_agrees_with_counting_every_tick(seed):
    generator = np.random.default_rng(seed)
    onsets, durations = generator.integers(0, 200, 30), generator.integers(1, 40, 30)
    sounding = np.zeros(300)
    for onset, duration in zip(onsets, durations, strict=True):
        sounding[onset : onset + duration] += 1
    notes = [(onset, duration, 60) for onset, duration in zip(onsets, durations, strict=True)]
    found = statistics.piece_statistics(make_score((0, False, notes), ticks_per_quarter=1))
    assert found["polyphony_mean"] == pytest.approx(sounding[sounding > 0].mean())


def test_transposition_changes_pitch_and_nothing_else():
    notes = [(i * 0.75, 0.5 + i % 3, 50 + 7 * i % 24) for i in range(20)]
    here = statistics.piece_statistics(make_score((0, False, notes)))
    there = statistics.piece_statistics(make_score((0, False, [(o, d, p + 5) for o, d, p in notes])))
    moved = {"pitch_mean", "pitch_lowest", "pitch_highest"}
    for name in here:
        assert there[name] - here[name] == pytest.approx(5 if name in moved else 0), name


def test_a_score_without_notes_has_no_means_but_counts():
    found = statistics.piece_statistics(make_score())
    assert found["notes"] == found["bars"] == found["duration_seconds"] == 0
    assert math.isnan(found["pitch_mean"])
    assert math.isnan(found["polyphony_mean"])
    summary = statistics.corpus_statistics([found])
    assert summary["pitch_mean"] == {"count": 0, **dict.fromkeys(("min", "p5", "median", "mean", "p95", "max"))}
    json.dumps(summary, allow_nan=False)


def test_corpus_statistics_agree_with_numpy_and_skip_what_is_not_finite():
    rows = [{"notes": float(value)} for value in (*range(101), math.nan)]
    assert statistics.corpus_statistics(rows) == {
        "notes": {"count": 101, "min": 0, "p5": 5, "median": 50, "mean": 50, "p95": 95, "max": 100}
    }


def test_histograms_count_every_note_once():
    piano = (0, False, [(0, 1, 60), (1, 100, 60), (2, 0.25, 61)])
    found = statistics.histograms([make_score(piano), make_score((0, True, [(0, 1, 36)]), tempo_bpm=999)])
    assert json.loads(json.dumps(found)) == found
    assert found["pitch"]["counts"][60] == 2
    assert sum(found["pitch"]["counts"]) == 3  # without the drum
    assert dict(zip(found["pitch_class"]["labels"], found["pitch_class"]["counts"], strict=True))["C#"] == 1
    assert sum(found["duration_beats"]["counts"]) == 4
    assert found["duration_beats"]["counts"][-1] == 1  # 100 beats, in the outer bin
    assert found["duration_beats"]["counts"][8] == 2  # one beat lies in [1, 1.125)
    assert sum(found["tempo_bpm"]["counts"]) == sum(found["piece_duration_seconds"]["counts"]) == 2
    for bins in found.values():
        assert len(bins["counts"]) == len(bins["labels"] if "labels" in bins else bins["edges"][1:])
    assert sum(statistics.histograms([])["pitch"]["counts"]) == 0


def test_bars_with_voices():
    # Bar 1: four voices; bar 2: three, one of them held over; bar 3: none; bar 4: four, one only by its last tick.
    voices = [
        (40, False, [(0, 8, 72), (12, 4, 72)]),
        (41, False, [(0, 4, 67), (4, 4, 67), (12, 4, 67)]),
        (42, False, [(0, 4, 60), (7, 1, 60), (12, 4, 60)]),
        (43, False, [(3, 1, 48), (15, 1, 48)]),
    ]
    score = make_score(*voices)
    assert statistics.bars_with_voices(score) == 0.5
    assert statistics.bars_with_voices(score, count=3) == 0.75
    assert statistics.bars_with_voices(score, count=5) == 0


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize(
    ("mode", "steps"),
    [("major", (0, 4, 7, 5, 9, 0, 7, 11, 2, 0, 4, 7)), ("minor", (0, 3, 7, 5, 8, 0, 7, 11, 2, 0, 3, 7))],
)
def test_key_of_a_cadence_in_every_key(tonic, mode, steps):
    notes = [(i, 1, 55 + (tonic + step - 55) % 12) for i, step in enumerate(steps)]
    names = statistics.MAJOR_KEYS if mode == "major" else statistics.MINOR_KEYS
    assert statistics.key_estimate(make_score((0, False, notes))) == f"{names[tonic]} {mode}"


@pytest.mark.parametrize("seed", range(3))
def test_key_agrees_with_music21(tmp_path, seed):
    from music21 import converter

    generator = np.random.default_rng(seed)
    pitches = generator.choice([62, 64, 66, 67, 69, 71, 73], size=60, p=[0.3, 0.1, 0.15, 0.1, 0.2, 0.1, 0.05])
    score = make_score((0, False, [(i, 1, int(pitch)) for i, pitch in enumerate(pitches)]))
    save_score(score, tmp_path / "a.mid")
    oracle = converter.parse(tmp_path / "a.mid").analyze("key.krumhanslkessler")
    assert (
        statistics.key_estimate(load_score(tmp_path / "a.mid"))
        == f"{oracle.tonic.name.replace('-', 'b')} {oracle.mode}"
    )


def test_no_key_without_pitches():
    assert statistics.key_estimate(make_score((0, True, [(0, 1, 36)]))) == "unknown"
