"""Prompts from files, and pieces that depend on their seed and on nothing else."""

from collections import Counter

import numpy as np
import pytest

from midifactory.errors import UserError
from midifactory.generation.guide import Length
from midifactory.generation.pieces import compose, prompt_opening
from midifactory.generation.sampling import Sampling
from midifactory.generation.wishes import parse_wishes
from midifactory.music.score import bar_count, bar_starts, duration_seconds, note_arrays, seconds_at


def notes_before(score, end_tick: float, quarter: int = 480) -> Counter:
    """(onset in quarters, pitch, program, velocity) of the notes that begin before a tick."""
    notes = note_arrays(score)
    keep = notes["onset"] < end_tick
    onsets = np.round(notes["onset"][keep] / score.ticks_per_quarter, 6)
    return Counter(zip(onsets, *(notes[name][keep].tolist() for name in ("pitch", "program", "velocity")), strict=True))


def quarters(score, bar: int) -> float:
    """Where a bar starts, in quarters."""
    return float(bar_starts(score)[bar]) / score.ticks_per_quarter


@pytest.fixture
def continued(untrained, piano):
    """A function that continues a prompt with the untrained model."""

    def make(score, bars=None, notes=None, length=None, samples=1, seed=0):
        wishes = parse_wishes(piano, None, None, None, None)
        opening = prompt_opening(score, untrained.tokenizer, bars, notes, wishes)
        return compose(untrained, opening, wishes, length or Length(bars=2), Sampling(), samples, seed)

    return make


@pytest.mark.parametrize("bars", [1, 2, 3])
def test_the_first_bars_stay_as_the_tokenizer_hears_them(continued, tokenizer, hand_score, bars):
    if bars == 1 and note_arrays(hand_score)["onset"][0] > 0:
        pytest.skip("its first bar is silent")
    quantised = tokenizer.quantise(hand_score)
    for piece in continued(hand_score, bars=bars, samples=2):
        end = quarters(hand_score, bars)
        expected = notes_before(quantised, end * quantised.ticks_per_quarter)
        assert notes_before(piece.score, end * piece.score.ticks_per_quarter) == expected
        assert piece.prompt_end_tick == end * piece.score.ticks_per_quarter
        assert bar_count(piece.score) == bars + 2


def test_a_note_that_lasts_over_the_bar_line_is_cut_there(continued, score_from):
    source = score_from([(0, [(0, 1, 60, 80), (3, 3, 64, 80), (6, 2, 67, 80)])])
    (piece,) = continued(source, bars=1)
    notes = note_arrays(piece.score)
    first = list(zip(notes["onset"], notes["duration"], notes["pitch"], strict=True))[:2]
    assert first == [(0, 480, 60), (1440, 480, 64)]
    assert all(notes["onset"][2:] >= 1920)


@pytest.mark.parametrize(("bars", "silent_from"), [(2, 1), (5, 1), (7, 4), (3, 3)])
def test_silence_at_the_end_of_a_prompt_counts_in_bars(continued, score_from, bars, silent_from):
    sung = [(beat, 1, 60 + beat % 5, 80) for beat in range(4 * silent_from)]
    source = score_from([(0, [*sung, (40, 4, 72, 80)])])
    (piece,) = continued(source, bars=bars)
    onsets = note_arrays(piece.score)["onset"]
    assert sum(onsets < 1920 * bars) == 4 * silent_from
    assert piece.prompt_end_tick == 1920 * bars
    assert bar_count(piece.score) == bars + 2


def test_a_long_rest_within_a_prompt_counts_in_bars(continued, score_from):
    onsets = (0, 1, 14, 15.5)
    source = score_from([(0, [(onset, 0.5, 60, 80) for onset in (*onsets, 20)])])
    (piece,) = continued(source, bars=4)
    heard = note_arrays(piece.score)["onset"]
    assert [tick / 480 for tick in heard[:4]] == list(onsets)
    assert all(heard[4:] >= 1920 * 4)
    assert bar_count(piece.score) == 6


def test_prompt_notes_takes_the_first_notes(continued, hand_scores, tokenizer):
    source = hand_scores["tempos"]
    for count in (1, 7, 20):
        (piece,) = continued(source, notes=count, length=Length(tokens=40))
        assert piece.ids[: len(piece.ids) - 40][-1] < tokenizer.vocab_size
        decoded = note_arrays(tokenizer.decode(piece.ids[:-40]))
        assert decoded["pitch"].tolist() == note_arrays(source)["pitch"][:count].tolist()
        full = note_arrays(piece.score)
        assert full["pitch"][:count].tolist() == decoded["pitch"].tolist()
        assert len(full["pitch"]) > count


def test_seconds_count_from_the_end_of_the_prompt(continued, hand_scores):
    lengths = []
    for piece in continued(hand_scores["tempos"], bars=3, length=Length(seconds=6), samples=4):
        start = float(seconds_at(piece.score, np.array(piece.prompt_end_tick)))
        assert start > 5
        lengths.append(duration_seconds(piece.score) - start)
    assert max(lengths) <= 6 + 1e-6
    assert max(lengths) > 3


def test_the_whole_file_is_the_prompt_where_nothing_is_said(continued, hand_scores):
    source = hand_scores["metres"]
    (piece,) = continued(source)
    assert bar_count(piece.score) == bar_count(source) + 2
    assert piece.prompt_end_tick / 480 == 2 * 4 + 3 * 3 + 4 * 3


def test_a_seed_decides_every_byte(continued, hand_scores):
    source = hand_scores["piano_chords"]
    first, again, other = (
        [piece.score.dumps_midi() for piece in continued(source, bars=1, samples=2, seed=seed)] for seed in (1, 1, 2)
    )
    assert first == again
    assert len({*first, *other}) == 4


def test_prompts_that_cannot_be_used_are_named(continued, hand_scores, score_from, untrained, piano):
    source = hand_scores["piano_chords"]
    late = score_from([(0, [(9, 1, 60, 80)])])
    long = score_from([(0, [(i / 4, 0.25, 40 + i % 40, 80) for i in range(400)])])
    for score, options, parts in (
        (source, {"bars": 0}, ["prompt_bars=0", "at least 1"]),
        (source, {"notes": -3}, ["prompt_notes=-3", "at least 1"]),
        (source, {"bars": 1, "notes": 1}, ["prompt_bars=1", "prompt_notes=1", "one of them"]),
        (late, {"bars": 2}, ["prompt_bars=2", "no note", "more bars"]),
        (long, {}, ["tokens", "512", "prompt_bars"]),
    ):
        with pytest.raises(UserError) as caught:
            continued(score, **options)
        assert all(part in str(caught.value) for part in parts), caught.value
    wishes = parse_wishes(piano, None, None, None, None)
    opening = prompt_opening(source, untrained.tokenizer, 1, None, wishes)
    with pytest.raises(UserError, match="num_samples=0"):
        compose(untrained, opening, wishes, Length(bars=1), Sampling(), samples=0)


def test_rows_of_different_lengths_are_those_of_one_length(continued, hand_scores):
    """A row's length changes no other row."""
    source = hand_scores["piano_chords"]
    mixed = continued(source, bars=1, length=[Length(bars=1), Length(bars=3), Length(bars=2)], samples=3)
    assert [bar_count(piece.score) for piece in mixed] == [2, 4, 3]
    alike = continued(source, bars=1, length=Length(bars=3), samples=3)
    assert mixed[1].ids == alike[1].ids
