"""Every note's tokens, for every scheme: against the encoder's own ticks and the values that the tokens state."""

import numpy as np
import pytest

from midifactory.errors import UserError
from midifactory.tokens.grid import VoiceGrid
from midifactory.tokens.note_tokens import note_tokens
from midifactory.tokens.tokenizer import ONSET_TYPES
from schemes import SAYS, SCORES, everything, learnt, tokenizer_of

PIECES = {**SCORES, "everything": everything}


@pytest.mark.parametrize("scheme", list(SAYS))
@pytest.mark.parametrize("piece", list(PIECES))
def test_notes_are_where_the_encoder_put_them(scheme, piece):
    tokenizer = tokenizer_of(scheme)
    ids, ticks, ticks_per_quarter = tokenizer._ids_and_ticks(PIECES[piece]())
    found = note_tokens(tokenizer, ids)
    strikes = [index for index, i in enumerate(ids) if tokenizer.types[i] in ONSET_TYPES]
    assert found.begins.tolist() == strikes
    # PerTok rounds onsets to its grid while it encodes: half a step of 1/12 beat at most.
    assert np.abs(found.onset_beats - ticks[strikes] / ticks_per_quarter).max() <= (
        1 / 24 + 1e-9 if scheme == "per_tok" else 1e-9
    )
    said = [int(tokenizer.tokens[ids[index]].partition("_")[2]) for index in strikes]
    assert found.pitch.tolist() == said
    assert (found.duration_beats > 0).all()


@pytest.mark.parametrize("scheme", list(SAYS))
def test_a_note_owns_what_describes_it_and_no_token_has_two(scheme):
    tokenizer = tokenizer_of(scheme)
    ids = tokenizer.encode(everything()).ids
    found = note_tokens(tokenizer, ids)
    assert len(set(found.token.tolist())) == len(found.token)
    described = {"Velocity", "Duration", "NoteOff", "DrumOff", "MicroTiming", *ONSET_TYPES}
    owned = {tokenizer.types[ids[index]] for index in found.token}
    assert owned - {"Program"} <= described
    for index, i in enumerate(ids):
        if tokenizer.types[i] in described:
            assert index in found.token, tokenizer.tokens[i]
    for token, note in zip(found.token, found.note, strict=True):
        type_, _, value = tokenizer.tokens[ids[token]].partition("_")
        if type_ in {"NoteOff", "DrumOff"}:
            assert int(value) == found.pitch[note]
        if type_ == "Program":
            assert int(value) == found.program[note]


def test_pairs_of_bytes_change_nothing():
    plain, merged = tokenizer_of("remi_plus"), learnt("remi_plus")
    ids = plain.encode(everything()).ids
    one, other = note_tokens(plain, ids), note_tokens(merged, ids)
    for name in ("onset_beats", "duration_beats", "pitch", "program", "begins", "token", "note"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()


def test_a_release_without_its_pitch_is_refused():
    tokenizer = tokenizer_of("midi_like", "tokenizer.use_pitch_intervals=true")
    with pytest.raises(UserError, match="use_pitch_intervals"):
        note_tokens(tokenizer, tokenizer.encode(everything()).ids)


def test_a_voice_grid_s_notes_are_those_it_decodes_to(score_from):
    lines = [[(step, 1, 70 - 5 * voice + step % 3, 80) for step in range(6)] for voice in range(3)]
    lines.append([(0, 4, 45, 80), (4.5, 1.5, 45, 80)])  # held, then a rest, then the same again
    tokenizer = VoiceGrid()
    ids = tokenizer.encode(score_from([(0, line) for line in lines])).ids
    found = note_tokens(tokenizer, ids)
    notes = {
        (note.time / 480, note.duration / 480, note.pitch)
        for track in tokenizer.decode(ids).resample(480).tracks
        for note in track.notes
    }
    told = list(zip(found.onset_beats.tolist(), found.duration_beats.tolist(), found.pitch.tolist(), strict=True))
    assert (set(told), len(told)) == (notes, 20)
    assert sorted(found.begins) == found.begins.tolist()
    for token, note in zip(found.token, found.note, strict=True):
        assert tokenizer.tokens[ids[token]] == f"Pitch_{found.pitch[note]}"
    sounding = [index for index, i in enumerate(ids) if tokenizer.types[i] == "Pitch"]
    assert sorted(found.token) == sounding
