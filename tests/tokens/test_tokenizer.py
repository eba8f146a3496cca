"""Oracles: MidiTok's own preprocessing, pretty_midi's clock and downbeats, and arithmetic by hand."""

import inspect
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
from miditok import TokenizerConfig
from omegaconf import OmegaConf
from symusic import Score

from midifactory.errors import UserError
from midifactory.music.score import note_arrays, save_score
from midifactory.tokens.tokenizer import SCHEMES, SPECIAL_TOKENS, Encoding, Tokenizer
from schemes import SAYS, SCORES, everything, make_score, tokenizer_of

CONFIG = Path(__file__).resolve().parents[2] / "conf/tokenizer/remi_plus.yaml"
PIECES = {**SCORES, "everything": everything}


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
    assert set(settings()) - {"scheme", "vocab_size", "additional_params"} == expected - {"additional_params"}


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
        ({"scheme": "Octuple"}, "Octuple.*REMI, TSD"),
        ({"vocab_size": 500}, "vocab_size=500.* 863 "),
        ({"vocab_size": "big"}, "vocab_size=big"),
        ({"ac_polyphony_bar": True}, "ac_polyphony_bar=true.*ac_polyphony_bar=false"),
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


def tempos_of(score: Score) -> list[tuple[int, float]]:
    return [(t.time * 480 // score.ticks_per_quarter, round(t.qpm, 2)) for t in score.tempos]


def metres_of(score: Score) -> list[tuple[int, int, int]]:
    return [(m.time * 480 // score.ticks_per_quarter, m.numerator, m.denominator) for m in score.time_signatures]


def test_the_table_above_names_every_config_of_a_miditok_tokenizer():
    inheriting = {path.stem for path in CONFIG.parent.glob("*.yaml") if "- remi_plus" in path.read_text()}
    assert inheriting | {"remi_plus"} == set(SAYS)
    assert {tokenizer_of(name).scheme for name in SAYS} == set(SCHEMES)


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("name", SAYS)
def test_every_tokenizer_gives_back_miditoks_quantised_score(name, piece):
    """Rests of up to four bars, several tracks of one program, drums, changes of metre, triplets: all exactly."""
    tokenizer, score = tokenizer_of(name), PIECES[piece]()
    decoded, quantised = tokenizer.decode(tokenizer.encode(score).ids), tokenizer.miditok.preprocess_score(score.copy())
    assert note_set(decoded) == note_set(quantised)
    assert sum(note_set(decoded).values()) == score.note_num()
    says_tempos, says_metres = SAYS[name]
    assert tempos_of(decoded) == (tempos_of(quantised) if says_tempos else [(0, 120)])
    assert metres_of(decoded) == (metres_of(quantised) if says_metres else [(0, 4, 4)])


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("name", SAYS)
def test_groups_of_every_tokenizer_stand_where_their_notes_sound(name, piece, tmp_path):
    tokenizer, score = tokenizer_of(name), PIECES[piece]()
    save_score(score, tmp_path / "piece.mid")
    heard = pretty_midi.PrettyMIDI(str(tmp_path / "piece.mid"))
    onsets = [[note.start for note in instrument.notes] for instrument in heard.instruments]
    # MMM writes track after track, the others all tracks together.
    together = np.array([onset for track in onsets for onset in sorted(track)])
    expected = together if not tokenizer.monotonic else np.sort(together)
    encoding = tokenizer.encode(score)
    np.testing.assert_allclose(per_note(encoding, encoding.group_seconds), expected, atol=1e-4)
    assert encoding.group_token[0] == 1
    assert (np.diff(encoding.group_token) > 0).all()
    assert encoding.notes == score.note_num()
    falls = (np.diff(encoding.group_seconds) < -1e-9).any() or (np.diff(encoding.group_bar) < 0).any()
    assert falls == (not tokenizer.monotonic and len(score.tracks) > 1)


@pytest.mark.parametrize("name", SAYS)
def test_every_tokenizer_survives_json_and_pickle(name):
    tokenizer, score = tokenizer_of(name), everything()
    for again in (Tokenizer.from_json(tokenizer.to_json()), pickle.loads(pickle.dumps(tokenizer))):
        assert (again.tokens, again.fingerprint) == (tokenizer.tokens, tokenizer.fingerprint)
        np.testing.assert_array_equal(again.encode(score).ids, tokenizer.encode(score).ids)


@pytest.mark.parametrize(
    ("name", "setting", "named"),
    [
        ("structured", "use_rests", "no such tokens.*use_rests=false"),
        ("structured", "use_tempos", "use_tempos=false"),
        ("structured", "use_control_changes", "use_control_changes=false"),
        ("per_tok", "use_rests", "never writes a Rest"),
        ("per_tok", "use_tempos", "would move"),
        ("per_tok", "use_time_signatures", "twelve quarters"),
        ("mmm", "use_control_changes", "use_control_changes=false"),
        ("mmm", "ac_note_density_bar", "ac_note_density_bar=false"),
        ("tsd", "ac_note_density_bar", "ac_note_density_bar=false"),
    ],
)
def test_what_a_scheme_would_silently_drop_is_refused(name, setting, named):
    with pytest.raises(Exception, match=named) as caught:
        tokenizer_of(name, f"tokenizer.{setting}=true")
    assert isinstance(caught.value.__cause__, UserError)


def test_pertoks_reasons_hold():
    """If MidiTok mends what PerTok is refused for, the refusals should go."""
    score = make_score(
        [(0, [(0, 1, 60, 80), (2, 1, 62, 80), (9, 1, 64, 80)])], ((0, 120), (1, 60), (9, 80)), ((0, 4, 4), (4, 6, 8))
    )
    inner = tokenizer_of("per_tok").miditok
    config = inner.config.copy()
    config.use_tempos = True
    changed = type(inner)(config)
    assert tempos_of(changed.decode(changed.encode(score)))[1][0] != 480
    config.use_time_signatures = True
    both = type(inner)(config)
    ids = both.encode(score)
    with pytest.raises(TypeError):
        both.decode(ids)


def test_pertok_keeps_a_players_onsets_to_two_ticks():
    generator = np.random.default_rng(0)
    onsets = np.cumsum(generator.uniform(0.01, 3, 60))
    notes = [(onset, generator.uniform(0.05, 6), 40 + i % 40, 80) for i, onset in enumerate(onsets)]
    tokenizer, score = tokenizer_of("per_tok"), make_score([(0, notes)])
    there, back = note_arrays(score), note_arrays(tokenizer.decode(tokenizer.encode(score).ids))
    assert np.abs(there["onset"] - back["onset"]).max() <= 2
    assert there["pitch"].tolist() == back["pitch"].tolist()
    assert len(set(there["onset"] % 40)) > 20  # far off the grid


def test_a_pause_longer_than_structureds_shifts_is_refused_with_a_remedy_that_works():
    score = make_score([(0, [(0, 1, 60, 80), (40, 1, 62, 80), (41, 1, 64, 80)])])
    with pytest.raises(UserError, match=r"40 beats.*\+tokenizer.beat_res={32-128:12}") as caught:
        tokenizer_of("structured").encode(score)
    longer = tokenizer_of("structured", str(caught.value).rsplit(" ", 1)[1])
    assert note_set(longer.decode(longer.encode(score).ids)) == note_set(longer.quantise(score))


def test_nested_notes_of_one_pitch_swap_their_ends_in_midi_like():
    tokenizer = tokenizer_of("midi_like")
    score = make_score([(0, [(0, 8, 60, 20), (1, 1, 60, 80), (3, 1, 60, 127), (2, 9, 64, 80)])])
    decoded = note_arrays(tokenizer.decode(tokenizer.encode(score).ids))
    expected = [(0, 2, 60), (1, 3, 60), (2, 9, 64), (3, 5, 60)]
    beats = zip(decoded["onset"] // 24, decoded["duration"] // 24, decoded["pitch"], strict=True)
    assert [tuple(map(int, note)) for note in beats] == expected
    assert note_set(tokenizer.quantise(score)) == note_set(tokenizer.decode(tokenizer.encode(score).ids))


def test_notes_that_sound_where_midi_like_ids_end_are_kept():
    tokenizer = tokenizer_of("midi_like")
    ids = tokenizer.encode(everything()).ids
    complete = note_arrays(tokenizer.decode(ids))
    begun = np.cumsum([tokenizer.types[i] in {"NoteOn", "DrumOn"} for i in ids])
    for end in tokenizer.encode(everything()).group_token[1:]:
        part = note_arrays(tokenizer.decode(ids[:end]))
        assert len(part["onset"]) == begun[end - 1]
        assert part["onset"].tolist() == complete["onset"][: len(part["onset"])].tolist()


@pytest.mark.parametrize("name", SAYS)
def test_any_ids_decode(name):
    """A model may emit anything: random ids, and music in which some ids are not what they should be."""
    tokenizer, generator = tokenizer_of(name), np.random.default_rng(0)
    for _ in range(5):
        tokenizer.decode(generator.integers(0, tokenizer.vocab_size, 300))
        ids = tokenizer.encode(everything()).ids
        wrong = generator.random(len(ids)) < 0.02
        ids[wrong] = generator.integers(0, tokenizer.vocab_size, int(wrong.sum()))
        assert tokenizer.decode(ids).note_num() > everything().note_num() / 2
