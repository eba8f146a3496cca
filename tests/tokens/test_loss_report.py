"""Oracles: changes made by hand to hand-made scores, and MidiTok's own list of what it keeps."""

import numpy as np
import pytest
from symusic import Score

from midifactory.errors import UserError
from midifactory.tokens.loss_report import PieceLoss, loss_report, piece_loss, report_lines
from midifactory.tokens.loss_report import _closest_pairs as closest_pairs

SIX = [(beat, 1, 60 + beat, 80) for beat in range(6)]


def test_a_piece_against_itself_loses_nothing(hand_score):
    report = loss_report([piece_loss(hand_score, hand_score.copy(), 1000)])
    for name in ("onset_error_ms_mean", "duration_error_ms_p95", "velocity_error_mean", "tempo_drift_ms_mean"):
        assert report[name] == 0
    assert report["dropped_notes"] == report["invented_notes"] == report["merged_tracks"] == 0
    assert report["notes"] == hand_score.note_num()


@pytest.mark.parametrize("resolution", [12, 24, 480, 960])
def test_another_resolution_is_no_loss(score_from, resolution):
    decoded = score_from([(0, SIX)]).resample(resolution)
    loss = piece_loss(score_from([(0, SIX)]), decoded, 30)
    assert loss.onset_error_ms.tolist() == loss.duration_error_ms.tolist() == [0] * 6


@pytest.mark.parametrize("bpm", [60, 120])
def test_a_moved_and_a_lengthened_note_by_hand(score_from, bpm):
    """At 60 bpm, 48 of 480 ticks are 100 ms."""
    score, decoded = (score_from([(0, SIX)], tempos=((0, bpm),)) for _ in range(2))
    decoded.tracks[0].notes[2].time += 48
    decoded.tracks[0].notes[4].duration -= 96
    decoded.tracks[0].notes[5].velocity += 3
    loss = piece_loss(score, decoded, 30)
    assert sorted(loss.onset_error_ms)[-2:] == pytest.approx([0, 100 * 60 / bpm])
    assert sorted(loss.duration_error_ms)[-2:] == pytest.approx([0, 200 * 60 / bpm])
    report = loss_report([loss], segments_per_piece=2.5)
    assert report["onset_error_ms_mean"] == pytest.approx(100 * 60 / bpm / 6)
    assert report["duration_error_ms_p95"] == pytest.approx(0.75 * 200 * 60 / bpm)  # 95 % of 5 steps: 3/4 of the last
    assert report["velocity_error_mean"] == 0.5
    assert report["tokens_per_note"] == 5
    assert report["tokens_per_second"] == pytest.approx(30 / (6 * 60 / bpm))
    assert report["segments_per_piece"] == 2.5


def test_errors_are_told_at_the_tempo_where_the_note_stands(score_from):
    score, decoded = (score_from([(0, SIX)], tempos=((0, 120), (4, 60))) for _ in range(2))
    for note in decoded.tracks[0].notes:
        note.time += 48
    assert sorted(piece_loss(score, decoded, 1).onset_error_ms) == pytest.approx([50] * 4 + [100] * 2)


def test_a_rounded_tempo_is_drift_and_moves_no_note(score_from):
    score = score_from([(0, SIX)], tempos=((0, 121),))
    loss = piece_loss(score, score_from([(0, SIX)], tempos=((0, 120),)), 1)
    assert loss.onset_error_ms.max() == 0
    assert loss.drift_ms == pytest.approx(6 * (60000 / 120 - 60000 / 121), abs=0.01)  # MIDI rounds tempos


def test_dropped_notes_and_why(score_from):
    notes = [*SIX, (6, 1, 12, 80), (7, 1, 60, 80), (7, 2, 60, 80), (8, 1, 64, 80)]
    score = score_from([(0, notes), (-1, [(0, 1, 20, 80)])])
    decoded = score_from([(0, [*SIX, (7, 1, 60, 80)])])
    loss = piece_loss(score, decoded, 1, pitch_range=(13, 64), drums_pitch_range=(21, 88))
    assert (loss.dropped, loss.out_of_range, loss.duplicates, loss.invented) == (4, 2, 1, 0)
    assert piece_loss(score, decoded, 1).out_of_range == 0
    assert loss_report([loss])["dropped_notes_percent"] == pytest.approx(100 * 4 / 11)


def test_a_note_too_far_away_is_dropped_and_invented(score_from):
    decoded = score_from([(0, [(0.6, 1, 60, 80), *SIX[1:]])])  # 300 ms
    loss = piece_loss(score_from([(0, SIX)]), decoded, 1)
    assert (loss.dropped, loss.invented) == (1, 1)


@pytest.mark.parametrize("program", [1, -1])
def test_a_note_of_another_instrument_is_another_note(score_from, program):
    loss = piece_loss(score_from([(0, SIX)]), score_from([(program, SIX)]), 1)
    assert (loss.dropped, loss.invented) == (6, 6)
    report = loss_report([loss])
    assert np.isnan(report["onset_error_ms_mean"])
    assert report_lines(report)


def test_of_repeated_notes_the_right_one_is_missing(score_from):
    """A search in order of time would take each note for the one before it."""
    repeated = [(i / 4, 0.25, 60, 80 + i) for i in range(8)]
    loss = piece_loss(score_from([(0, repeated)]), score_from([(0, repeated[1:])]), 1)
    assert loss.dropped == 1
    assert loss.onset_error_ms.max() == loss.velocity_error.max() == 0


def test_pairs_are_each_others_closest():
    """Stable matching: no two points that are closer to each other than to their partners."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        first, second = (rng.integers(0, 100, rng.integers(0, 9)) / 100 for _ in range(2))
        mine, theirs = closest_pairs(first, second, 0.25)
        assert len(set(mine.tolist())) == len(mine) == len(set(theirs.tolist()))
        partner = dict(zip(mine.tolist(), theirs.tolist(), strict=True))
        back = {b: a for a, b in partner.items()}
        for a in range(len(first)):
            for b in range(len(second)):
                distance = abs(first[a] - second[b])
                mine_now = abs(first[a] - second[partner[a]]) if a in partner else 0.25
                theirs_now = abs(first[back[b]] - second[b]) if b in back else 0.25
                assert distance >= min(mine_now, theirs_now) - 1e-9


def test_tracks_of_one_program_become_one(score_from):
    tracks = [(0, SIX), (0, [(10, 1, 72, 80)]), (5, [(0, 1, 40, 80)]), (9, [])]
    decoded = score_from([(0, [*SIX, (10, 1, 72, 80)]), (5, [(0, 1, 40, 80)])])
    loss = piece_loss(score_from(tracks), decoded, 1)
    assert (loss.tracks, loss.merged_tracks, loss.dropped) == (3, 1, 0)


# --- the default tokenizer -------------------------------------------------------------------------------


def through(tokenizer, score: Score) -> PieceLoss:
    encoding = tokenizer.encode(score)
    config = tokenizer.miditok.config
    return piece_loss(
        score,
        tokenizer.decode(encoding.ids),
        len(encoding.ids),
        pitch_range=config.pitch_range,
        drums_pitch_range=config.drums_pitch_range,
    )


def test_what_lies_on_the_grid_keeps_its_place_and_length(tokenizer, hand_score):
    loss = through(tokenizer, hand_score)
    assert loss.onset_error_ms.max() == pytest.approx(0, abs=1e-6)
    assert loss.duration_error_ms.max() == pytest.approx(0, abs=1e-6)
    assert (loss.dropped, loss.invented, loss.merged_tracks) == (0, 0, 0)
    assert loss.drift_ms == pytest.approx(0, abs=1e-3)
    assert loss.velocity_error.max() <= 4  # 32 bins of 4


def test_what_lies_off_the_grid_moves_by_up_to_half_a_step(tokenizer, score_from):
    rng = np.random.default_rng(0)
    notes = [(2 * i + rng.random(), 1, 60, 80) for i in range(60)]
    loss = through(tokenizer, score_from([(0, notes)], tempos=((0, 60),)))
    step_ms = 1000 / 12
    assert loss.dropped == 0
    assert step_ms / 5 < loss.onset_error_ms.mean() < step_ms / 3
    assert loss.onset_error_ms.max() <= step_ms / 2 + 2.1  # a tick is 2.08 ms


def test_it_drops_what_has_no_token_and_one_of_two_equal_notes(tokenizer, score_from):
    piano = [*SIX, (6, 1, 5, 80), (7, 1, 109, 80), (8, 1, 110, 80)]
    score = score_from([(0, piano), (0, [(0, 2, 60, 80), (20, 1, 61, 80)]), (-1, [(0, 1, 26, 80), (1, 1, 27, 80)])])
    loss = through(tokenizer, score)
    assert (loss.dropped, loss.out_of_range, loss.duplicates, loss.merged_tracks) == (4, 3, 1, 1)


def test_a_tempo_between_two_tokens_drifts(tokenizer, score_from):
    loss = through(tokenizer, score_from([(0, [(0, 1, 60, 80), (119, 1, 60, 80)])], tempos=((0, 121),)))
    beats = 120
    assert abs(loss.drift_ms) == pytest.approx(beats * 60000 * abs(1 / 120 - 1 / 121), rel=0.05)


# --- for people ------------------------------------------------------------------------------------------


def test_reports_count_notes_alike_and_sum_counts(score_from):
    one = score_from([(0, SIX[:1])])
    moved = score_from([(0, [(0.1, 1, 60, 80)])])
    losses = [piece_loss(one, moved, 4), piece_loss(score_from([(0, SIX)]), score_from([(0, SIX[:4])]), 8)]
    report = loss_report(losses)
    assert report["onset_error_ms_mean"] == pytest.approx(50 / 5)
    assert (report["pieces"], report["notes"], report["dropped_notes"]) == (2, 7, 2)
    assert report["tokens_per_note"] == pytest.approx(12 / 7)
    assert "segments_per_piece" not in report
    assert all(type(value) is float for value in report.values())


def test_lines_are_a_table(score_from):
    score = score_from([(0, SIX)])
    report = loss_report([piece_loss(score, score_from([(0, SIX[:5])]), 30)], 2.0)
    lines = report_lines(report)
    dropped = next(line for line in lines if line.startswith("dropped notes"))
    assert "1 (16.67 %)" in dropped
    assert (
        len({line.index("  ", line.index(value)) for line, value in ((dropped, "16.67 %)"), (lines[-1], "2.0"))}) == 1
    )
    assert lines[-1].startswith("segments per piece")
    assert len(report_lines(loss_report([piece_loss(score, score, 30)]))) == len(lines) - 1


def test_no_pieces_no_report():
    with pytest.raises(UserError, match="0 pieces"):
        loss_report([])
