"""What a piece measures, against counting by hand and by naive loops, and against muspy where it has the metric."""

import math

import numpy as np
import pytest
from symusic import Note, Score, TimeSignature, Track

from midifactory.evaluation import metrics
from midifactory.evaluation.metrics import bar_similarity, groove_similarity, measure

DRUMS = -1


def piece(*tracks, ticks_per_quarter=48, metre=(4, 4)):
    """Tracks of (program, [(onset, duration, pitch)]), in quarters."""
    score = Score(ticks_per_quarter)
    for program, notes in tracks:
        track = Track("", max(0, program), program == DRUMS)
        for onset, duration, pitch in notes:
            track.notes.append(Note(round(onset * ticks_per_quarter), round(duration * ticks_per_quarter), pitch, 80))
        score.tracks.append(track)
    score.time_signatures.append(TimeSignature(0, *metre))
    return score


def random_piece(seed, bars=9, notes=60):
    """Two instruments on the twelfths of a beat, in 3/4."""
    generator = np.random.default_rng(seed)
    tracks = []
    for program in (0, 40):
        onsets = np.sort(generator.choice(36 * bars, notes, replace=False)) / 12
        rows = zip(onsets, generator.integers(1, 13, notes) / 12, generator.integers(48, 84, notes), strict=True)
        tracks.append((program, [(float(onset), float(duration), int(pitch)) for onset, duration, pitch in rows]))
    return piece(*tracks, metre=(3, 4))


def naive_bars(score):
    """For each bar of 3/4 the set of its notes in cells of a twelfth."""
    bars = {}
    for index, track in enumerate(score.tracks):
        for note in track.notes:
            cell, length = note.time * 12 // score.ticks_per_quarter, note.duration * 12 // score.ticks_per_quarter
            bars.setdefault(cell // 36, set()).add((cell % 36, length, note.pitch, index))
    end = max(note.time + note.duration for track in score.tracks for note in track.notes)
    return [bars.get(bar, set()) for bar in range(-(-end // (3 * score.ticks_per_quarter)))]


@pytest.mark.parametrize("seed", range(4))
def test_similarity_of_bars_is_what_pairs_have_in_common(seed):
    score = random_piece(seed)
    bars = naive_bars(score)
    bars[3] = bars[1]
    expected = []
    for lag in range(1, 17):
        pairs = [(bars[place], bars[place + lag]) for place in range(len(bars) - lag)]
        found = [len(a & b) / len(a | b) for a, b in pairs if a | b]
        expected.append(np.mean(found) if found else np.nan)
    for track, index in zip(score.tracks, (0, 1), strict=True):
        notes = [
            (3 * bar + cell / 12, length / 12, pitch)
            for bar, rows in enumerate(bars)
            for cell, length, pitch, i in rows
            if i == index
        ]
        track.notes = type(track.notes)([Note(round(48 * o), round(48 * d), p, 80) for o, d, p in notes])
    np.testing.assert_allclose(bar_similarity(score), expected)
    assert expected[1] > 0.05


def test_a_bar_that_is_repeated_is_like_itself_at_every_distance():
    score = piece((0, [(4 * bar + beat, 1, 60 + beat) for bar in range(20) for beat in range(4)]))
    np.testing.assert_array_equal(bar_similarity(score), np.ones(16))
    assert groove_similarity(score) == 1
    every_other = piece((0, [(4 * bar + beat, 1, 60 + beat + 5 * (bar % 2)) for bar in range(20) for beat in range(4)]))
    np.testing.assert_array_equal(bar_similarity(every_other), [0, 1] * 8)
    assert groove_similarity(every_other) == 1, "the rhythm is the same"


@pytest.mark.parametrize("seed", range(4))
def test_groove_similarity_is_the_mean_over_all_pairs_of_bars(seed):
    score = random_piece(seed)
    grids = [np.isin(np.arange(36), [cell for cell, *_ in bar]) for bar in naive_bars(score)]
    pairs = [1 - (a ^ b).mean() for index, a in enumerate(grids) for b in grids[index + 1 :]]
    assert groove_similarity(score) == pytest.approx(np.mean(pairs))


def test_intervals_and_times_counted_by_hand():
    upper = [(0, 1, 72), (1, 0.5, 74), (1.5, 0.5, 71), (2, 20, 72)]
    score = piece((0, [*upper, (0, 2, 60), (2, 2, 55)]), (DRUMS, [(beat / 2, 0.25, 36) for beat in range(8)]))
    found = measure(score).histograms
    steps = {place - 24: share for place, share in enumerate(found["pitch_intervals"]) if share}
    assert steps == pytest.approx({2: 1 / 3, -3: 1 / 3, 1: 1 / 3}), "of the highest notes of an instrument"
    assert found["onset_intervals"][6] == 1, "the drums have a rhythm, too"
    durations = {place / 12: share for place, share in enumerate(found["durations"]) if share}
    assert durations == pytest.approx({0.25: 8 / 14, 0.5: 2 / 14, 1: 1 / 14, 2: 2 / 14, 8: 1 / 14})
    assert found["pitch_classes"][0] == 3 / 6
    assert all(values.sum() == pytest.approx(1) for values in found.values())


def test_what_depends_on_the_key_alone_does_not_depend_on_it():
    steps = [0, 4, 7, 5, 9, 0, 7, 11, 2, 0, 4, 7, 0]
    melody = [(beat, 1, 60 + step) for beat, step in enumerate(steps)]
    chords = [(4 * bar, 4, 48 + root + third) for bar, root in enumerate((0, 5, 7, 0)) for third in (0, 4, 7)]
    here = measure(piece((0, melody), (1, chords)))
    there = measure(piece((0, [(o, d, p + 5) for o, d, p in melody]), (1, [(o, d, p + 5) for o, d, p in chords])))
    for name in ("pitch_classes_in_key", "pitch_intervals", "onset_intervals"):
        np.testing.assert_array_equal(here.histograms[name], there.histograms[name])
    assert dict(here.statistics) == pytest.approx(dict(there.statistics))
    assert here.chords == there.chords
    assert here.chords[0] == 1 + 2**4 + 2**7, "the tonic chord, as if it were C"
    np.testing.assert_array_equal(here.ngrams, there.ngrams)
    assert not np.array_equal(here.histograms["pitch_classes"], there.histograms["pitch_classes"])


def test_chord_tones_and_the_fit_of_the_key():
    chords = [(beat, 1, 60 + third) for beat in range(16) for third in (0, 4, 7)]
    assert measure(piece((0, chords))).statistics["chord_tone_share"] == 1
    strange = measure(piece((0, [*chords, *((beat, 1, 61) for beat in range(16))]))).statistics
    assert strange["chord_tone_share"] == pytest.approx(3 / 4)
    scale = [(beat, 1, 60 + step) for beat, step in enumerate((0, 2, 4, 5, 7, 9, 11, 12) * 4)]
    moving = [(beat, 1, pitch + beat // 8 * 3) for beat, _, pitch in scale]
    assert metrics.key_consistency(piece((0, scale)), "C major") > metrics.key_consistency(
        piece((0, moving)), "C major"
    )


def test_drums_alone_and_silence_have_what_they_can():
    drums = measure(piece((DRUMS, [(beat, 0.25, 36 + beat % 3) for beat in range(16)])))
    assert math.isnan(drums.statistics["scale_consistency"])
    assert math.isnan(drums.statistics["chord_tone_share"])
    assert math.isnan(drums.statistics["key_consistency"])
    assert np.isnan(drums.histograms["pitch_intervals"]).all()
    assert drums.histograms["onset_intervals"][12] == 1
    assert drums.chords == ()
    assert len(drums.ngrams) == 9
    empty = measure(piece())
    assert all(np.isnan(values).all() for values in empty.histograms.values())
    assert np.isnan(empty.repetition).all()
    assert len(empty.ngrams) == 0


@pytest.mark.parametrize("seed", range(3))
def test_statistics_agree_with_muspy(seed):
    """The pieces are those of which both count alike: see tests/music/test_statistics.py for more of them."""
    import muspy

    score = random_piece(seed).resample(12)
    score.tracks[0].notes.append(Note(26 * 12, 18, 60, 80))  # muspy would open a bar where the last one ends on a line
    oracle = muspy.Music(
        resolution=12,
        tracks=[
            muspy.Track(
                program=track.program,
                notes=[muspy.Note(note.time, note.pitch, note.duration, note.velocity) for note in track.notes],
            )
            for track in score.tracks
        ],
    )
    found = measure(score)
    assert found.statistics["pitch_range"] == muspy.pitch_range(oracle)
    assert found.statistics["pitch_class_entropy_bits"] == pytest.approx(muspy.pitch_class_entropy(oracle))
    assert found.statistics["scale_consistency"] == pytest.approx(muspy.scale_consistency(oracle))
    assert found.statistics["groove_consistency"] == pytest.approx(muspy.groove_consistency(oracle, 36))
