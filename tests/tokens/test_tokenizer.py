"""Oracles: MidiTok's own preprocessing, pretty_midi's clock and downbeats, and arithmetic by hand."""

import inspect
from collections import Counter
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
from miditok import TokenizerConfig
from omegaconf import OmegaConf
from symusic import Score

from midifactory.errors import UserError
from midifactory.music.score import save_score
from midifactory.tokens.tokenizer import SPECIAL_TOKENS, Encoding, Tokenizer

CONFIG = Path(__file__).resolve().parents[2] / "conf/tokenizer/remi_plus.yaml"


def settings(**changes):
    fields = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del fields["_target_"]
    return fields | changes


def note_set(score: Score) -> Counter:
    scale = 480 // score.ticks_per_quarter
    return Counter(
        (-1 if track.is_drum else track.program, note.time * scale, note.duration * scale, note.pitch, note.velocity)
        for track in score.tracks
        for note in track.notes
    )


def per_note(encoding: Encoding, values: np.ndarray) -> np.ndarray:
    """A group's value for each of its notes, in order of onset."""
    return np.repeat(values, np.diff(np.append(encoding.group_notes, encoding.notes)))


def test_the_config_lists_exactly_miditoks_fields():
    expected = {name for name in inspect.signature(TokenizerConfig).parameters if name != "kwargs"}
    assert set(settings()) - {"scheme", "additional_params"} == expected - {"additional_params"}


def test_json_keeps_the_vocabulary_its_order_and_the_fingerprint(tokenizer):
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.tokens == tokenizer.tokens
    assert again.fingerprint == tokenizer.fingerprint
    assert again.to_json() == tokenizer.to_json()


def test_json_keeps_how_a_score_is_read(tokenizer, hand_score):
    again = Tokenizer.from_json(tokenizer.to_json())
    np.testing.assert_array_equal(again.encode(hand_score).ids, tokenizer.encode(hand_score).ids)


@pytest.mark.parametrize(
    "change", [{"num_velocities": 16}, {"use_chords": False}, {"tempo_range": [40, 248]}, {"beat_res": {"0-4": 12}}]
)
def test_another_setting_is_another_fingerprint(tokenizer, change):
    assert Tokenizer(**settings(**change)).fingerprint != tokenizer.fingerprint


def test_decoding_an_encoding_gives_the_quantised_score(tokenizer, hand_score):
    decoded = tokenizer.decode(tokenizer.encode(hand_score).ids)
    quantised = tokenizer.miditok.preprocess_score(hand_score.copy())
    assert note_set(decoded) == note_set(quantised)
    assert sum(note_set(decoded).values()) == hand_score.note_num()


def test_notes_on_the_grid_keep_their_place_and_length(tokenizer, hand_score):
    """The hand-made scores lie on the grid, so that even quantising moves nothing but velocities."""
    decoded = tokenizer.decode(tokenizer.encode(hand_score).ids)
    assert Counter(note[:4] for note in note_set(decoded).elements()) == Counter(
        note[:4] for note in note_set(hand_score).elements()
    )


def test_tempos_and_metres_come_back(tokenizer, hand_score):
    decoded = tokenizer.decode(tokenizer.encode(hand_score).ids)
    scale = 480 // decoded.ticks_per_quarter
    assert [(t.time * scale, t.qpm) for t in decoded.tempos] == [(t.time, t.qpm) for t in hand_score.tempos]
    assert [(s.time * scale, s.numerator, s.denominator) for s in decoded.time_signatures] == [
        (s.time, s.numerator, s.denominator) for s in hand_score.time_signatures
    ]


def test_four_instruments_and_their_unisons_survive(tokenizer, hand_scores):
    decoded = tokenizer.decode(tokenizer.encode(hand_scores["four_voices"]).ids)
    assert {track.program for track in decoded.tracks} == {73, 68, 71, 70}
    at_start = [note.pitch for track in decoded.tracks for note in track.notes if note.time == 0]
    assert at_start == [60] * 4


def test_seconds_of_every_note_are_pretty_midis(tokenizer, hand_score, tmp_path):
    save_score(hand_score, tmp_path / "piece.mid")
    heard = pretty_midi.PrettyMIDI(str(tmp_path / "piece.mid"))
    onsets = sorted(note.start for instrument in heard.instruments for note in instrument.notes)
    encoding = tokenizer.encode(hand_score)
    np.testing.assert_allclose(per_note(encoding, encoding.group_seconds), onsets, atol=1e-4)


def test_bars_of_every_note_are_counted_on_the_score(tokenizer, hand_score):
    """By hand: the bar of an onset is that of the metre in force plus whole bars since it began."""
    expected = []
    for onset in sorted(note.time for track in hand_score.tracks for note in track.notes):
        bar, begun, length = 0, 0, 4 * 480
        for metre in hand_score.time_signatures:
            if metre.time <= onset:
                bar += (metre.time - begun) // length
                begun, length = metre.time, 4 * 480 * metre.numerator // metre.denominator
        expected.append(bar + (onset - begun) // length)
    encoding = tokenizer.encode(hand_score)
    assert per_note(encoding, encoding.group_bar).tolist() == expected


def test_a_rest_swallows_bar_tokens_but_not_bars(tokenizer, hand_scores):
    """The reason why bars are not counted in tokens: the third and later onsets of the piece would be early."""
    encoding = tokenizer.encode(hand_scores["long_rest"])
    bar_tokens = sum(tokenizer.types[i] == "Bar" for i in encoding.ids)
    assert encoding.group_bar[-1] == 10
    assert bar_tokens < 11


def test_seconds_are_of_the_files_own_tempo(tokenizer, score_from):
    """121 bpm is no tempo of the tokenizer, which says 120 or 122; the onset stays where the file has it."""
    encoding = tokenizer.encode(score_from([(0, [(0, 1, 60, 80), (121, 1, 60, 80)])], tempos=((0, 121),)))
    assert encoding.group_seconds[-1] == pytest.approx(60.0)


def test_a_file_without_a_tempo_is_read_at_120(tokenizer, score_from):
    score = score_from([(0, [(0, 1, 60, 80), (2, 1, 62, 80)])], tempos=())
    encoding = tokenizer.encode(score)
    assert encoding.group_seconds[-1] == pytest.approx(1.0)
    assert [tempo.qpm for tempo in tokenizer.decode(encoding.ids).tempos] == [120]


def test_groups_begin_at_time_tokens_and_count_the_notes_before_them(tokenizer, hand_score):
    encoding = tokenizer.encode(hand_score)
    assert encoding.group_token[0] == 1
    assert (np.diff(encoding.group_token) > 0).all()
    assert (np.diff(encoding.group_seconds) >= 0).all()
    for index, start in enumerate(encoding.group_token):
        before = [tokenizer.types[i] for i in encoding.ids[:start]]
        assert tokenizer.types[encoding.ids[start]] in {"Bar", "Position", "Rest"}
        assert encoding.group_notes[index] == before.count("Pitch") + before.count("PitchDrum")
        assert encoding.group_opens_bar[index] == (tokenizer.types[encoding.ids[start]] == "Bar")
    assert encoding.notes == hand_score.note_num()


def test_a_piece_stands_between_bos_and_eos(tokenizer, hand_score):
    ids = tokenizer.encode(hand_score).ids
    assert (ids[0], ids[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
    specials = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}
    assert len(specials) == len(SPECIAL_TOKENS)
    assert not specials & set(ids[1:-1].tolist())


def test_a_score_out_of_range_is_refused_with_its_notes(tokenizer, score_from):
    with pytest.raises(UserError, match="none of its 2 notes"):
        tokenizer.encode(score_from([(0, [(0, 1, 3, 80), (1, 1, 5, 80)])]))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scheme": "TSD"}, "TSD"),
        ({"velocities": 3}, "velocities"),
        ({"use_programs": False}, "use_programs"),
        ({"one_token_stream_for_programs": False}, "one_token_stream"),
        ({"beat_res": {"four": 4}}, "four"),
        ({"beat_res": {"0-4": 8}}, "refuses.*rests"),
        ({"beat_res": 4}, "beat_res=4"),
        ({"tempo_range": 5}, "tempo_range=5"),
    ],
)
def test_settings_that_cannot_be_are_user_errors_that_name_them(change, named):
    with pytest.raises(UserError, match=named):
        Tokenizer(**settings(**change))
