"""Composing with note features: consistent, repeatable, as long as asked; the oracle reads every window anew."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from midifactory.errors import UserError
from midifactory.generation import notes as generation
from midifactory.generation.guide import Length
from midifactory.generation.notes import compose_notes, continue_notes, opening_notes
from midifactory.generation.sampling import Sampling, Settings, sample
from midifactory.models.notes import PITCHES, NoteModel
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer
from midifactory.music.profile import ProfileTally
from midifactory.music.score import duration_seconds, note_arrays
from midifactory.tokens.notes import NoteCodec, Scaler, quantile_levels

PITCH, DURATION, OFFSET, DELTA, VELOCITY = range(5)
TRUNKS = {
    "gru": lambda: Recurrent(PITCHES, cell="gru", d_model=16, layers=2),
    "transformer": lambda: Transformer(PITCHES, d_model=16, heads=2, layers=1, context=16),
}


def trained(scores, trunk="gru", **codec):
    """An untrained model with the scaling and the levels of hand-made scores: it composes anything they allow."""
    codec = NoteCodec(**{"num_instruments": 2, "sequence_length_i": 5, "sequence_length_o": 3, "bins": 8, **codec})
    pieces = [codec.features(score) for score in scores]
    scaler = Scaler.fit(pieces)
    torch.manual_seed(0)
    model = NoteModel(TRUNKS[trunk](), codec.num_instruments, codec.bins)
    for parameter in model.parameters():
        parameter.data.mul_(4.0)
    model.levels.copy_(torch.from_numpy(quantile_levels([scaler.transform(rows) for rows in pieces], codec.bins)))
    tally = ProfileTally()
    for score in scores:
        tally.add(score)
    return SimpleNamespace(model=model.eval(), codec=codec, scaler=scaler, profile=tally.profile())


@pytest.fixture(params=list(TRUNKS))
def musician(request, hand_scores):
    return trained([hand_scores[name] for name in ("four_voices", "tempos", "piano_chords")], request.param)


def go_on(musician, before, count, seed=0, samples=1, **keywords):
    return continue_notes(
        musician.model, musician.codec, musician.scaler, before, count, None, Sampling(), samples, seed, **keywords
    )


def test_notes_are_those_of_reading_every_window_anew(musician, hand_scores):
    """Without a state: for each note the I notes before its block of O, and those of the block."""
    before = musician.codec.features(hand_scores["tempos"])[:9]
    (found,) = go_on(musician, before, 11, seed=4)
    generator, scaler, rows = np.random.default_rng([4, 0]), musician.scaler, list(before)
    plain = Settings([Sampling()])
    for index in range(11):
        block = index % 3
        window = scaler.transform(np.array(rows[len(rows) - 5 - block :]))
        with torch.no_grad():
            known = musician.model(torch.from_numpy(window).float()[None])[0][:, -1]
            drawn = musician.model.draw(
                known,
                lambda name, logits, chosen: sample(logits, plain, torch.tensor([generator.random()])),
            )
        row = scaler.inverse(drawn[0].double().numpy())
        row[OFFSET] = rows[-1][OFFSET] + row[DELTA]
        rows.append(row)
    np.testing.assert_allclose(found, np.array(rows[9:]), atol=1e-5)


def test_offsets_add_up_from_the_prompts_last_one(musician, hand_scores):
    before = musician.codec.features(hand_scores["four_voices"])[:7]
    (found,) = go_on(musician, before, 50)
    assert found.shape == (50, 7)
    assert (found[:, DELTA] >= 0).all()
    np.testing.assert_allclose(found[:, OFFSET], before[-1, OFFSET] + np.cumsum(found[:, DELTA]), atol=1e-9)
    assert (found[:, 5:].sum(axis=1) == 1).all()
    assert len(np.unique(found[:, PITCH])) > 5


def test_numbers_are_levels_of_the_training_pieces(musician, hand_scores):
    """To the microsecond, so that chords sound together."""
    scores = [hand_scores[name] for name in ("four_voices", "tempos", "piano_chords")]
    rows = np.concatenate([musician.codec.features(score) for score in scores])
    (found,) = go_on(musician, rows[:0], 60)
    for column in (DURATION, DELTA, VELOCITY):
        assert np.isin(found[:, column], rows[:, column].round(6) + 0.0).all()
    assert (found[:, DELTA] == 0).any()


def test_the_same_seed_gives_the_same_notes_and_a_sample_does_not_depend_on_the_others(musician, hand_scores):
    before = musician.codec.features(hand_scores["tempos"])[:9]
    first, second, third = go_on(musician, before, 20, seed=7, samples=3)
    (alone,) = go_on(musician, before, 20, seed=7)
    np.testing.assert_allclose(alone, first, atol=1e-9)
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)
    assert not np.array_equal(go_on(musician, before, 20, seed=8)[0], first)


def test_a_low_temperature_takes_the_likeliest(musician):
    silence = np.zeros((0, 7))
    cold = [
        continue_notes(musician.model, musician.codec, musician.scaler, silence, 15, None, Sampling(1e-6), seed=seed)[0]
        for seed in (1, 2)
    ]
    np.testing.assert_array_equal(*cold)


def test_composing_ends_where_it_was_asked_to(musician, hand_scores):
    def compose(length, prompt=None):
        return compose_notes(musician, prompt, length, Sampling(), samples=2, seed=3)

    for piece in compose(Length(tokens=17)):
        assert piece.score.note_num() == 17
        assert piece.prompt_end_tick == 0
    for piece in compose(Length(seconds=6.5)):
        assert duration_seconds(piece.score) <= 6.5 + 1e-9
        assert note_arrays(piece.score)["onset"].max() > 4 * 2 * 960  # at 120 bpm, two quarters a second
    ends = [note_arrays(piece.score)["onset"].max() for piece in compose(Length(bars=3))]
    assert all(2 * 4 * 960 < end < 3 * 4 * 960 for end in ends)


def test_a_prompt_stays_and_the_length_counts_from_its_last_onset(musician, hand_scores):
    prompt = opening_notes(hand_scores["four_voices"], None, 10)
    assert prompt.note_num() == 10
    (piece,) = compose_notes(musician, prompt, Length(tokens=6), Sampling())
    codec = musician.codec
    before, after = (codec.features(score) for score in (prompt, piece.score))
    assert len(after) == 16
    order = np.lexsort((after[:, PITCH], after[:, OFFSET]))[:8]  # the last chord is the model's to go on from
    np.testing.assert_allclose(after[order][:, :3], before[:8, :3], atol=1e-3)
    assert piece.prompt_end_tick == round(before[-1, OFFSET] * 2 * codec.ticks_per_quarter) + 1
    (piece,) = compose_notes(musician, prompt, Length(seconds=4), Sampling())
    assert duration_seconds(piece.score) <= before[-1, OFFSET] + 4 + 1e-3
    assert len(codec.features(piece.score)) > 10


def test_the_beginning_of_a_prompt(hand_scores):
    score = hand_scores["metres"]
    assert opening_notes(score, 1, None).note_num() == 4
    assert opening_notes(score, None, None).note_num() == score.note_num()
    with pytest.raises(UserError, match="prompt_bars=1 and prompt_notes=2: set one of them"):
        opening_notes(score, 1, 2)
    with pytest.raises(UserError, match="prompt_bars=1: these bars of the prompt hold no note"):
        opening_notes(hand_scores["long_rest"], 1, None)


def pitches_of(musician, **keywords):
    (piece,) = compose_notes(musician, None, Length(tokens=150), Sampling(), seed=2, **keywords)
    return note_arrays(piece.score)


def test_pitches_stay_within_the_range_asked_or_the_corpus(musician):
    pitch = pitches_of(musician)["pitch"]
    span = musician.profile["tessitura"]
    assert span["lowest"] <= pitch.min() < pitch.max() <= span["highest"]
    assert set(pitches_of(musician, pitch_range=[60, 62])["pitch"].tolist()) == {60, 61, 62}
    with pytest.raises(UserError, match=r"pitch_range=\[70, 60\]"):
        pitches_of(musician, pitch_range=[70, 60])


def test_drums_have_no_range(hand_scores):
    musician = trained([hand_scores["drums"]], programs=[33, -1])
    notes = pitches_of(musician, pitch_range=[40, 41])
    assert set(notes["pitch"][notes["program"] == 33].tolist()) <= {40, 41}
    assert len(set(notes["pitch"][notes["program"] == -1].tolist())) > 20
    # Who plays which track is unknown without programs, so drums may be on any.
    assert len(set(pitches_of(trained([hand_scores["drums"]]))["pitch"].tolist())) > 20


def test_a_model_that_stays_in_one_place_is_given_up(hand_scores, monkeypatch):
    monkeypatch.setattr(generation, "_PATIENCE", 25)
    musician = trained([hand_scores["four_voices"]])
    delta = float(musician.scaler.transform(np.zeros((1, 7)))[0, DELTA])
    musician.model.levels[2] = torch.tensor([delta] + [torch.inf] * 7)
    for length in (Length(seconds=3), Length(bars=1)):
        (piece,) = compose_notes(musician, None, length, Sampling())
        assert piece.score.note_num() == 24


def test_beats_are_as_long_as_seconds_at_two_beats_a_second(hand_scores):
    musician = trained([hand_scores["tempos"]], time_unit="beats")
    (piece,) = compose_notes(musician, None, Length(seconds=5), Sampling())
    assert 4 < duration_seconds(piece.score) <= 5 + 1e-9
    (piece,) = compose_notes(musician, None, Length(bars=2), Sampling())
    assert 4 * 960 < note_arrays(piece.score)["onset"].max() < 8 * 960
