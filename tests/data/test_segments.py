"""Cuts fall between notes, lose nothing in silence, and keep to a length measured on the Score."""

import numpy as np
import pytest

from midifactory.data.datamodule import Segmentation
from midifactory.data.segments import SegmentCount, count_padding, cut_segments, segment_score
from midifactory.errors import UserError
from midifactory.music.score import bar_starts
from midifactory.tokens.store import GROUP_DTYPE

PIECES = ("four_voices", "piano_chords", "drums", "metres", "tempos", "long_rest", "metre_after_rest")
LENGTHS = [("seconds", 4.0), ("seconds", 1.0), ("bars", 2), ("bars", 1), ("tokens", 40)]


def cut(store, piece, unit, length, max_tokens=10_000, align_to_bars=True):
    stored, count = store.pieces[piece], SegmentCount()
    segments = cut_segments(
        piece,
        store.groups(piece),
        stored.tokens,
        stored.notes,
        unit,
        length,
        max_tokens,
        count,
        align_to_bars,
    )
    return segments, count


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize(("unit", "length"), LENGTHS)
@pytest.mark.parametrize("piece", PIECES)
def test_every_token_is_in_exactly_one_segment(store, piece, unit, length, align):
    segments, count = cut(store, piece, unit, length, align_to_bars=align)
    joined = np.concatenate([store.ids(piece)[segment.start : segment.end] for segment in segments])
    np.testing.assert_array_equal(joined, store.ids(piece))
    assert (count.segments, count.tokens) == (len(segments), len(joined))
    assert (count.divided, count.left_out_tokens) == (0, 0)


@pytest.mark.parametrize("max_tokens", [10_000, 20])
@pytest.mark.parametrize(("unit", "length"), LENGTHS)
@pytest.mark.parametrize("piece", PIECES)
def test_cuts_fall_between_notes_and_notes_are_counted(store, tokenizer, piece, unit, length, max_tokens):
    for segment in cut(store, piece, unit, length, max_tokens)[0]:
        types = [tokenizer.types[i] for i in store.ids(piece)[segment.start : segment.end]]
        assert types[0] in {"BOS", "Bar", "Position", "Rest"}
        assert types[-1] in {"EOS", "Duration", "Tempo"}
        assert types.count("Pitch") + types.count("PitchDrum") == types.count("Duration") == segment.notes


@pytest.mark.parametrize(("unit", "length"), LENGTHS)
@pytest.mark.parametrize("piece", PIECES)
def test_no_segment_of_several_onsets_is_longer_than_asked(store, tokenizer, piece, unit, length):
    """In seconds and bars, between its first and last onset; a single onset may be as long as it is."""
    groups = store.groups(piece)
    measure = {"seconds": groups["seconds"], "bars": groups["bar"], "tokens": groups["token"]}[unit]
    for segment in cut(store, piece, unit, length)[0]:
        inside = (groups["token"] >= segment.start) & (groups["token"] < segment.end)
        spanned = measure[inside]
        if len(spanned) > 1:
            assert spanned[-1] - spanned[0] < length
            assert unit != "tokens" or len(segment) <= length + (segment.start == 0)  # BOS comes on top


def test_four_seconds_of_quarters_at_sixty_are_four_quarters(tokenizer, score_from):
    """By hand: sixteen quarters of one second each give four segments of four notes."""
    encoding = tokenizer.encode(score_from([(0, [(beat, 1, 60, 80) for beat in range(16)])], tempos=((0, 60),)))
    groups = np.zeros(len(encoding.group_token), GROUP_DTYPE)
    groups["token"], groups["seconds"], groups["bar"] = (
        encoding.group_token,
        encoding.group_seconds,
        encoding.group_bar,
    )
    groups["notes"], groups["opens_bar"] = encoding.group_notes, encoding.group_opens_bar
    for unit, length in (("seconds", 4.0), ("bars", 1)):
        segments = cut_segments("x", groups, len(encoding.ids), 16, unit, length, 1000, SegmentCount())
        assert [segment.notes for segment in segments] == [4, 4, 4, 4]
        assert all(tokenizer.types[encoding.ids[segment.start]] == "Bar" for segment in segments[1:])


def test_a_long_rest_parts_segments_and_counts_in_none(store):
    """Notes at quarters 5 to 8, 22 to 27 and 40 on, at 96 bpm, that is 3.1 to 5 s, 13.8 to 16.9 s and 25 s on."""
    segments, _ = cut(store, "long_rest", "seconds", 5.1, align_to_bars=False)
    assert [segment.notes for segment in segments] == [4, 6, 3]


def test_aligned_cuts_move_back_to_a_bar_unless_half_would_be_lost(store, tokenizer):
    """2.5 bars of 4/4 at 120: aligned cuts come every two bars, others wherever the length ends."""

    def notes(align):
        segments, _ = cut(store, "piano_chords", "seconds", 5.0, align_to_bars=align)
        return [tokenizer.types[store.ids("piano_chords")[s.start]] for s in segments]

    assert notes(True) == ["BOS", "Bar"]
    assert notes(False)[1] == "Position"
    segments, _ = cut(store, "piano_chords", "seconds", 1.5)  # a bar lasts 2 s: some cut has to be inside it
    assert any(tokenizer.types[store.ids("piano_chords")[s.start]] == "Position" for s in segments)


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("max_tokens", [17, 30, 64])
def test_long_segments_are_divided_and_everything_is_accounted_for(store, piece, max_tokens):
    segments, count = cut(store, piece, "seconds", 1000.0, max_tokens)
    ids = store.ids(piece)
    covered = np.zeros(len(ids), int)
    for segment in segments:
        assert 2 <= len(segment) <= max_tokens
        covered[segment.start : segment.end] += 1
    assert covered.max() == 1
    assert count.left_out_tokens == int((covered == 0).sum())
    assert count.tokens == int(covered.sum())
    assert count.divided == (1 if len(segments) > 1 else 0)
    assert f"{count.left_out_tokens} tokens" in count.line(0.0)


def test_only_an_onset_that_is_too_long_by_itself_is_left_out(store, tokenizer):
    """Four voices at one onset take at least 1 + 4 x 4 tokens, more than 16."""
    segments, count = cut(store, "four_voices", "seconds", 1000.0, 16)
    starts = np.append(store.groups("four_voices")["token"], store.pieces["four_voices"].tokens)
    starts[0] = 0
    sizes = np.diff(starts)
    assert count.left_out_tokens == sizes[sizes > 16].sum() > 0
    assert sum(map(len, segments)) == sizes[sizes <= 16].sum()


def test_bars_that_are_cut_and_bars_that_do_not_fit_are_counted(tokenizer, score_from):
    """By hand: four bars of four quarters, the third with eight more notes."""
    notes = [(beat, 1, 60, 80) for beat in range(16)] + [(8 + i / 2, 0.5, 72, 80) for i in range(8)]
    encoding = tokenizer.encode(score_from([(0, notes)], tempos=((0, 60),)))
    groups = np.zeros(len(encoding.group_token), GROUP_DTYPE)
    groups["token"], groups["seconds"], groups["bar"] = (
        encoding.group_token,
        encoding.group_seconds,
        encoding.group_bar,
    )
    groups["notes"], groups["opens_bar"] = encoding.group_notes, encoding.group_opens_bar

    def counted(unit, length, max_tokens=1000):
        count = SegmentCount()
        cut_segments("x", groups, len(encoding.ids), len(notes), unit, length, max_tokens, count)
        return count

    types = [tokenizer.types[i] for i in encoding.ids]
    third, fourth = [index for index, type_ in enumerate(types) if type_ == "Bar"][2:]
    whole = counted("bars", 2)
    assert (whole.bars, whole.cut_bars, whole.long_bars) == (4, 0, 0)
    assert whole.longest_bar_tokens == fourth - third
    assert counted("seconds", 1.0).cut_bars == 4
    assert counted("bars", 2, fourth - third).long_bars == 0
    short = counted("bars", 2, fourth - third - 1)
    assert (short.long_bars, short.cut_bars) == (1, 1)
    assert "1 of 4 bars cut" in short.line(0.0)


@pytest.mark.parametrize("length", [0, -1.5, "abc"])
def test_a_length_that_is_none_is_an_error_with_its_value(length):
    with pytest.raises(UserError, match=f"segment.length={length}"):
        Segmentation("seconds", length)


def test_a_unit_that_is_none_is_an_error_with_the_choices():
    with pytest.raises(UserError, match=r"segment.unit=beats: choose one of seconds, bars, tokens"):
        Segmentation("beats")


def test_padding_is_the_share_of_positions_without_a_token():
    assert count_padding([4, 2, 3, 3], [[0, 1], [2, 3]]) == pytest.approx(2 / 14)


@pytest.mark.parametrize(("unit", "length"), [("bars", 1), ("bars", 2), ("seconds", 4.0)])
def test_a_score_is_cut_as_its_stored_piece_and_its_bars_add_up(store, tokenizer, hand_scores, unit, length):
    for piece in PIECES:
        score = hand_scores[piece]
        stored, _ = cut(store, piece, unit, length)
        ours = segment_score(score, tokenizer, unit, length, max_tokens=10_000)
        assert len(ours) == len(stored)
        for segment, expected in zip(ours, stored, strict=True):
            ids = store.ids(piece)[expected.start : expected.end]
            np.testing.assert_array_equal(segment.ids, ids[ids != tokenizer.eos_id])
        last_onset = max(note.time for track in score.tracks for note in track.notes)
        assert sum(segment.bars for segment in ours) == len(bar_starts(score, last_onset + 1))
        if unit == "bars" and piece in ("four_voices", "piano_chords", "metres", "tempos"):
            assert {segment.bars for segment in ours[:-1]} == {length}
