"""Distances between pieces, against loops over hand-made scores."""

import numpy as np
import pytest

from midifactory.evaluation.reconstruction import (
    Agreement,
    distances,
    mean_curve,
    note_agreement,
    pitch_class_distance,
    rising_share,
)

DRUMS = -1


def shared_in_loops(a, b) -> int:
    """Notes of a that find a note of b of their own."""

    def listed(score):
        return [
            (note.time / score.ticks_per_quarter, DRUMS if track.is_drum else track.program, note.pitch)
            for track in score.tracks
            for note in track.notes
        ]

    left, count = listed(b), 0
    for note in listed(a):
        if note in left:
            left.remove(note)
            count += 1
    return count


def test_shared_notes_are_those_of_a_loop(hand_scores):
    names = sorted(hand_scores)
    for one in names:
        for other in names:
            a, b = hand_scores[one], hand_scores[other]
            found = note_agreement(a, b)
            assert found == Agreement(shared_in_loops(a, b), a.note_num(), b.note_num())
            assert (found.f1 == 1) == (one == other)


def test_f1_is_the_harmonic_mean_and_agreements_add_up():
    agreement = Agreement(6, 8, 12)
    precision, recall = 6 / 12, 6 / 8
    assert agreement.f1 == pytest.approx(2 * precision * recall / (precision + recall))
    assert agreement + Agreement(1, 2, 3) == Agreement(7, 10, 15)
    assert Agreement(0, 0, 0).f1 == 1


def test_onset_pitch_and_program_count_length_loudness_ticks_and_tracks_do_not(score_from):
    a = score_from([(0, [(0, 1, 60, 80), (1, 1, 64, 80), (1, 1, 64, 80)])])
    same = score_from([(0, [(0, 2, 60, 30)]), (0, [(1, 0.5, 64, 99), (1, 1, 64, 1)])])
    assert note_agreement(a, same).f1 == 1
    assert note_agreement(a, same.resample(96, 1)).f1 == 1
    later = score_from([(0, [(0.25, 1, 60, 80), (1, 1, 64, 80), (1, 1, 64, 80)])])
    higher = score_from([(0, [(0, 1, 61, 80), (1, 1, 64, 80), (1, 1, 64, 80)])])
    elsewhere = score_from([(9, [(0, 1, 60, 80), (1, 1, 64, 80), (1, 1, 64, 80)])])
    assert note_agreement(a, later).f1 == note_agreement(a, higher).f1 == pytest.approx(2 / 3)
    assert note_agreement(a, elsewhere).f1 == 0
    assert note_agreement(a, higher, with_pitch=False).f1 == 1


def test_pitch_classes_are_weighed_by_how_long_they_sound(score_from):
    a = score_from([(0, [(0, 3, 60, 80), (3, 1, 67, 80)]), (DRUMS, [(0, 1, 41, 80)])])
    octave = score_from([(0, [(0, 1, 79, 80), (3, 3, 48, 80)])])
    other = score_from([(0, [(0, 1, 60, 80), (1, 1, 61, 80)])])
    assert pitch_class_distance(a, octave) == pytest.approx(0)
    assert pitch_class_distance(a, other) == pytest.approx((0.25 + 0.25 + 0.5) / 2)
    assert pitch_class_distance(a, score_from([(0, [(0, 1, 62, 80)])])) == pytest.approx(1)


def test_distances_are_0_to_oneself_and_1_without_anything_in_common(hand_scores, score_from):
    a = hand_scores["metres"]
    assert distances(a, a) == {"notes": 0, "onsets": 0, "pitch_classes": 0}
    far = score_from([(5, [(0.1, 1, 58, 80)])])
    assert distances(hand_scores["drums"], far)["notes"] == distances(hand_scores["drums"], far)["onsets"] == 1


def test_rising_steps_and_mean_curves():
    assert rising_share([0, 1, 1, 3]) == 1
    assert rising_share([0, 1, 0.5, 3]) == pytest.approx(2 / 3)
    assert rising_share([0, 1, 0.5, 3], tolerance=0.5) == 1
    assert rising_share([7]) == 1
    np.testing.assert_allclose(mean_curve([[0, 1], [1, 0]]), [0.5, 0.5])
