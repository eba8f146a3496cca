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
    end = int((onsets + durations).max())
    assert found["polyphony_share"] == pytest.approx((sounding[:end] > 1).mean())


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
    scores = [make_score(piano), make_score((0, True, [(0.5, 1, 36)]), tempo_bpm=60)]
    parts = [statistics.piece_histograms(score) for score in scores]
    found = statistics.panels_of({name: parts[0][name] + parts[1][name] for name in parts[0]})
    assert json.loads(json.dumps(found)) == found
    assert found["pitch"]["counts"][60] == 2
    assert sum(found["pitch"]["counts"]) == 3  # without the drum
    assert dict(zip(found["pitch_class"]["labels"], found["pitch_class"]["counts"], strict=True))["C#"] == 1
    assert sum(found["duration_beats"]["counts"]) == 4
    assert found["duration_beats"]["counts"][-1] == 1  # 100 beats, in the outer bin
    assert found["duration_beats"]["counts"][8] == 2  # one beat lies in [1, 1.125)
    assert found["onset_place"]["counts"] == [3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert sum(found["onset_interval_beats"]["counts"]) == sum(found["onset_interval_seconds"]["counts"]) == 2
    for bins in found.values():
        assert len(bins["counts"]) == len(bins["labels"] if "labels" in bins else bins["edges"][1:])
    assert statistics.bin_counts("tempo_bpm", np.array([59.0, 999.0])).sum() == 2


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


# --- Against muspy and pretty_midi -----------------------------------------------------------------------


def random_tracks(seed):
    """Three tracks of (program, [(onset, duration, pitch, velocity)]) in twelfths of a beat, with empty bars.

    Onsets are even and durations odd, so no note ends on a bar line, where muspy counts it into the next bar too. No
    two notes of one pitch overlap, since muspy counts pitches where we count notes.
    """
    generator = np.random.default_rng(seed)
    tracks, bars = [], generator.choice(20, size=7)
    for index, program in enumerate(generator.choice(96, size=3, replace=False).tolist()):
        until, notes = {}, []
        for onset in sorted((48 * generator.choice(bars, 50) + 2 * generator.integers(0, 24, 50)).tolist()):
            pitch, duration = 30 + 20 * index + int(generator.integers(20)), 1 + 2 * int(generator.integers(0, 20))
            if onset > until.get(pitch, -1):
                notes.append((onset, duration, pitch, int(generator.integers(20, 120))))
                until[pitch] = onset + duration
        tracks.append((program, notes))
    return tracks


def as_score(tracks, tempo_bpm=97.0, drums=()):
    score = Score(12)
    for program, notes in [*tracks, *([(-1, drums)] if drums else [])]:
        track = Track("", max(0, program), program < 0)
        for note in notes:
            track.notes.append(Note(*note))
        score.tracks.append(track)
    score.tempos.append(Tempo(0, tempo_bpm))
    score.time_signatures.append(TimeSignature(0, 4, 4))
    return score


@pytest.mark.parametrize("seed", range(6))
def test_ten_statistics_agree_with_muspy(seed):
    import muspy

    tracks = random_tracks(seed)
    oracle = muspy.Music(
        resolution=12,
        tracks=[
            muspy.Track(program=program, notes=[muspy.Note(o, p, d, v) for o, d, p, v in notes])
            for program, notes in tracks
        ],
    )
    found = statistics.piece_statistics(as_score(tracks))
    expected = {
        "pitches_used": muspy.n_pitches_used(oracle),
        "pitch_classes_used": muspy.n_pitch_classes_used(oracle),
        "pitch_range": muspy.pitch_range(oracle),
        "pitch_entropy_bits": muspy.pitch_entropy(oracle),
        "pitch_class_entropy_bits": muspy.pitch_class_entropy(oracle),
        "scale_consistency": muspy.scale_consistency(oracle),
        "polyphony_mean": muspy.polyphony(oracle),
        "polyphony_share": muspy.polyphony_rate(oracle, threshold=1),
        "empty_bars_share": muspy.empty_measure_rate(oracle, 48),
        "groove_consistency": muspy.groove_consistency(oracle, 48),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert 0 < found["empty_bars_share"] < 1


@pytest.mark.parametrize("seed", range(4))
def test_ten_statistics_agree_with_pretty_midi(tmp_path, seed):
    """pretty_midi has seconds only, so lengths in beats are compared at the one tempo."""
    import pretty_midi

    tracks = random_tracks(seed)
    drums = [(beat * 12, 3, 36 + beat % 4, 90) for beat in range(30)]
    save_score(as_score(tracks, 97.0, drums), tmp_path / "a.mid")
    oracle = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    score = load_score(tmp_path / "a.mid")
    found, histograms = statistics.piece_statistics(score), statistics.piece_histograms(score)
    notes = [note for instrument in oracle.instruments for note in instrument.notes]
    beat = 60 / oracle.get_tempo_changes()[1][0]
    onsets = np.unique(np.round(oracle.get_onsets(), 6))
    expected = {
        "duration_seconds": oracle.get_end_time(),
        "bars": len(oracle.get_downbeats()),
        "notes": len(notes),
        "tempo_bpm": oracle.get_tempo_changes()[1][0],
        "notes_per_second": len(notes) / oracle.get_end_time(),
        "duration_mean_beats": np.mean([note.get_duration() for note in notes]) / beat,
        "onset_interval_mean_beats": np.mean(np.diff(onsets)) / beat,
        "velocity_mean": np.mean([note.velocity for note in notes]),
        "programs": len({(instrument.program, instrument.is_drum) for instrument in oracle.instruments}),
        "drum_notes_share": np.mean(
            [instrument.is_drum for instrument in oracle.instruments for _ in instrument.notes]
        ),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    classes = histograms["pitch_class"] / histograms["pitch_class"].sum()
    np.testing.assert_allclose(classes, oracle.get_pitch_class_histogram(), atol=1e-9)


# --- Tempo from onsets -----------------------------------------------------------------------------------


def played(tempo_bpm, jitter_ms=0.0, file_bpm=120.0, seed=0):
    """A tune in eighths with chords on the beats, played at `tempo_bpm` in a file that says `file_bpm`."""
    generator = np.random.default_rng(seed)
    notes = []
    for eighth in range(96):
        beats = eighth / 2 * file_bpm / tempo_bpm + generator.normal(0, 1) * jitter_ms / 1000 * file_bpm / 60 + 0.1
        strong = eighth % 2 == 0
        if strong or generator.random() < 0.5:
            notes += [(max(0, beats), 0.4, 60 + pitch) for pitch in ((0, 4, 7) if strong else (12,))]
    return make_score((0, False, notes), tempo_bpm=file_bpm)


@pytest.mark.parametrize("tempo_bpm", [70, 88, 104, 120, 133, 150])
@pytest.mark.parametrize("jitter_ms", [0, 12])
def test_the_tempo_is_heard_whatever_the_file_says(tempo_bpm, jitter_ms):
    assert statistics.tempo_estimate(played(tempo_bpm, jitter_ms)) == pytest.approx(tempo_bpm, rel=0.02)
    assert statistics.tempo_estimate(played(tempo_bpm, jitter_ms, file_bpm=75)) == pytest.approx(tempo_bpm, rel=0.02)


def test_the_tempo_of_a_pulse_is_pretty_midis(tmp_path):
    import pretty_midi

    save_score(make_score((0, False, [(beat, 0.5, 60) for beat in range(40)]), tempo_bpm=93), tmp_path / "a.mid")
    oracle = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid")).estimate_tempo()
    assert statistics.tempo_estimate(load_score(tmp_path / "a.mid")) == pytest.approx(oracle, rel=0.01)


def test_too_few_onsets_have_no_tempo():
    assert math.isnan(statistics.tempo_estimate(make_score()))
    assert math.isnan(statistics.tempo_estimate(make_score((0, False, [(i // 4, 1, 60 + i) for i in range(16)]))))
