"""Pieces from the tokenizers that are not plain REMI, byte pairs among them, with their grammar and without.

Where anything may come, an untrained model proposes it; where music must, a parrot repeats a score.
"""

from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch

from generation.conftest import PROFILES, Untrained
from midifactory.errors import UserError
from midifactory.generation.guide import FreeGuide, Length
from midifactory.generation.pieces import Composition, compose, opening_of_style, prompt_opening
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Arpeggio, Chords, Free, Melody, Style
from midifactory.generation.wishes import parse_wishes
from midifactory.models.interface import State
from midifactory.models.transformer import Transformer
from midifactory.music.score import bar_starts, duration_seconds, note_arrays, seconds_at
from midifactory.tokens.tokenizer import Tokenizer
from schemes import SCORES, learnt, tokenizer_of

FREE = ("tsd", "midi_like", "structured", "per_tok", "bpe")  # conf/tokenizer, or remi_plus with byte pairs
ALL = (*FREE, "mmm")


@cache
def untrained_of(name: str) -> Untrained:
    """A tiny transformer with random weights and a short window."""
    tokenizer = learnt("remi_plus") if name == "bpe" else tokenizer_of(name)
    torch.manual_seed(0)
    model = Transformer(tokenizer.vocab_size, d_model=16, heads=2, layers=1, context=192).eval()
    return Untrained(model, tokenizer, 192)


class Said(State):
    """How many tokens a parrot has read; it talks to one listener at a time."""

    def __init__(self) -> None:
        self.said = 0

    def select(self, rows):
        assert len(rows) == 1

    def join(self, other):
        raise AssertionError("one at a time")


class Parrot(torch.nn.Module):
    """Says the ids of a score over and over: a trained model without the training."""

    context = longest = None

    def __init__(self, tokenizer: Tokenizer, score_name: str):
        super().__init__()
        self.vocab_size = tokenizer.vocab_size
        ids = tokenizer.to_model_ids(tokenizer.encode(SCORES[score_name]()).ids)[1:-1]
        self.ids = torch.from_numpy(ids)
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def new_state(self, size, capacity, padding=None):
        return Said()

    def forward(self, ids, state=None, conditions=None):
        state.said += ids.shape[1]
        logits = torch.zeros(len(ids), ids.shape[1], self.vocab_size)
        logits[:, -1, self.ids[(state.said - 1) % len(self.ids)]] = 50.0
        return type("Output", (), {"logits": logits, "state": state})()


def composed(model: Untrained, length: Length, samples=1, seed=0, style: Style | None = None, **wishes):
    asked = parse_wishes(
        PROFILES["piano"], wishes.get("key"), wishes.get("tempo_bpm"), wishes.get("metre"), wishes.get("chords")
    )
    opening = opening_of_style(style or Free(), asked, model.tokenizer)
    return compose(model, opening, asked, length, Sampling(), samples, seed, key_strength=1e4)


def parrot(name: str, score_name: str = "piano_chords") -> Untrained:
    tokenizer = untrained_of(name).tokenizer
    return Untrained(Parrot(tokenizer, score_name), tokenizer, 10_000)


@pytest.mark.parametrize("name", FREE)
def test_a_length_in_tokens_is_exact_also_beyond_the_window(name):
    for piece in composed(untrained_of(name), Length(tokens=250), samples=2):
        assert len(piece.ids) == 1 + 250
        tokenizer = untrained_of(name).tokenizer
        assert piece.ids[0] == tokenizer.bos_id
        assert not {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id} & set(piece.ids[1:])


def test_mmm_ends_with_eos_or_after_the_tokens_asked():
    tokenizer = untrained_of("mmm").tokenizer
    pieces = composed(untrained_of("mmm"), Length(tokens=1500), samples=8)
    assert all(tokenizer.eos_id not in piece.ids for piece in pieces)
    assert max(len(piece.ids) for piece in pieces) == 1501
    assert min(len(piece.ids) for piece in pieces) < 1501


@pytest.mark.parametrize("name", FREE)
def test_bars_asked_are_the_bars_of_the_score(name):
    (piece,) = composed(parrot(name), Length(bars=6))
    notes = note_arrays(piece.score)
    assert (notes["onset"] + notes["duration"]).max() <= 6 * 1920
    assert notes["onset"].max() >= 5 * 1920
    assert len(bar_starts(piece.score)) == 6


@pytest.mark.parametrize("name", FREE)
def test_seconds_asked_are_the_seconds_of_the_score(name):
    # With byte pairs the tempo's own token would put the parrot out.
    (piece,) = composed(parrot(name), Length(seconds=7.3), tempo_bpm=None if name == "bpe" else 100)
    assert 6.5 < duration_seconds(piece.score) <= 7.3
    (other,) = composed(untrained_of(name), Length(seconds=7.3), tempo_bpm=100)
    assert duration_seconds(other.score) <= 7.3
    assert [tempo.qpm for tempo in other.score.tempos] == [100]


@pytest.mark.parametrize("name", ALL)
def test_a_seed_decides_every_byte(name):
    def made(seed: int) -> list[bytes]:
        pieces: list[Composition] = composed(untrained_of(name), Length(tokens=120), 2, seed)
        return [piece.score.dumps_midi() + bytes(str(piece.ids), "ascii") for piece in pieces]

    assert made(1) == made(1)
    assert len({*made(1), *made(2)}) == 4


def heard(score, end_tick: float) -> Counter:
    notes = note_arrays(score)
    keep = notes["onset"] < end_tick
    onsets = np.round(notes["onset"][keep] / score.ticks_per_quarter, 6).tolist()
    return Counter(zip(onsets, *(notes[key][keep].tolist() for key in ("pitch", "program", "velocity")), strict=True))


@pytest.mark.parametrize("piece_name", ["drums", "metres", "tempos"])
@pytest.mark.parametrize("name", FREE)
def test_a_prompts_bars_stay_and_do_not_count(name, piece_name):
    source, model = SCORES[piece_name](), parrot(name)
    wishes = parse_wishes(PROFILES["piano"], None, None, None, None)
    opening = prompt_opening(source, model.tokenizer, 2, None, wishes)
    (piece,) = compose(model, opening, wishes, Length(bars=3), Sampling())
    assert piece.prompt_end_tick == 2 * 1920
    quantised = model.tokenizer.quantise(source)
    assert heard(quantised, 8 * quantised.ticks_per_quarter) <= heard(piece.score, 2 * 1920)
    assert list(piece.ids[: len(opening.prompt)]) == opening.prompt
    assert len(bar_starts(piece.score)) == 5


@pytest.mark.parametrize("name", ALL)
def test_a_prompts_notes_stay(name):
    source, model = SCORES["four_voices"](), parrot(name)
    wishes = parse_wishes(PROFILES["piano"], None, None, None, None)
    opening = prompt_opening(source, model.tokenizer, None, 10, wishes)
    (piece,) = compose(model, opening, wishes, Length(tokens=60), Sampling())
    assert note_arrays(model.tokenizer.decode(opening.prompt))["pitch"].size == 10
    assert heard(model.tokenizer.decode(opening.prompt), np.inf) <= heard(piece.score, np.inf)
    assert len(piece.ids) <= len(opening.prompt) + 60
    assert len(piece.ids) == len(opening.prompt) + 60 or name == "mmm"  # whose piece may end with any track


def test_seconds_count_from_the_end_of_the_prompt():
    source, model = SCORES["tempos"](), parrot("tsd")
    wishes = parse_wishes(PROFILES["piano"], None, None, None, None)
    opening = prompt_opening(source, model.tokenizer, 1, None, wishes)
    (piece,) = compose(model, opening, wishes, Length(seconds=5), Sampling())
    start = float(seconds_at(piece.score, np.array(piece.prompt_end_tick)))
    assert start == pytest.approx(2.0)
    assert 4 < duration_seconds(piece.score) - start <= 5


@pytest.mark.parametrize("name", ALL)
def test_a_key_holds_back_every_token_with_a_foreign_pitch(name):
    tokenizer = untrained_of(name).tokenizer
    for piece in composed(untrained_of(name), Length(tokens=250), samples=2, key="C major"):
        names = [tokenizer.tokens[i] for i in tokenizer.to_base_ids(piece.ids)]
        pitches = [int(token.split("_")[1]) for token in names if token.startswith(("Pitch_", "NoteOn_"))]
        assert pitches
        assert {pitch % 12 for pitch in pitches} <= {0, 2, 4, 5, 7, 9, 11}


def onsets_of(score, bar: int) -> set[int]:
    """Pitch classes that begin on the downbeat of a bar."""
    notes, start = note_arrays(score), bar_starts(score)[bar]
    return {int(pitch) % 12 for pitch in notes["pitch"][notes["onset"] == start]}


@pytest.mark.parametrize("name", FREE)
def test_every_bar_of_a_progression_has_its_chord(name):
    pieces = composed(untrained_of(name), Length(bars=5), 2, style=Chords("Dm G7 C"))
    chords = [{2, 5, 9}, {7, 11, 2, 5}, {0, 4, 7}]
    for piece in pieces:
        starts = bar_starts(piece.score)
        assert len(starts) == 5
        assert onsets_of(piece.score, 0) == chords[0]
        notes = note_arrays(piece.score)
        for bar in range(1, 5):
            ringing = (notes["onset"] < starts[bar]) & (notes["onset"] + notes["duration"] > starts[bar])
            heard = onsets_of(piece.score, bar) | {int(pitch) % 12 for pitch in notes["pitch"][ringing]}
            assert chords[bar % 3] <= heard


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize(("style", "first"), [(Melody(), [0, 2, 4, 7]), (Arpeggio(), [0, 4, 7, 0])])
def test_melodies_and_arpeggios_begin_as_they_should_and_fill_the_bars(name, style, first):
    for piece in composed(untrained_of(name), Length(bars=4), 2, style=style):
        notes, starts = note_arrays(piece.score), bar_starts(piece.score)
        assert len(starts) == 4
        assert [int(pitch) % 12 for pitch in notes["pitch"][:4]] == first
        ends = notes["onset"] + notes["duration"]
        for bar in range(1, 4):
            end = starts[bar + 1] if bar < 3 else np.inf
            assert ((notes["onset"] < end) & (ends > starts[bar])).any()
        if isinstance(style, Melody):
            assert (notes["onset"][1:] >= ends[:-1]).all() or name == "per_tok"  # whose notes stand beside the grid


@pytest.mark.parametrize("style", [Chords(), Melody(), Arpeggio()])
def test_mmm_has_no_styles(style):
    with pytest.raises(UserError, match=f"style={type(style).__name__.lower()}: MMM.*style=free"):
        composed(untrained_of("mmm"), Length(tokens=4), style=style)


def test_what_no_tokens_can_tell_is_refused():
    with pytest.raises(UserError, match=r"metre=3/4: this model's tokens have no metres"):
        composed(untrained_of("structured"), Length(tokens=4), metre="3/4")
    for length, named in ((Length(bars=8), "bars=8"), (Length(seconds=4), "seconds=4")):
        with pytest.raises(UserError, match=f"{named}: MMM .*tokens=1024"):
            composed(untrained_of("mmm"), length)


@pytest.mark.parametrize("style", [Free(), Chords(), Melody(), Arpeggio()])
def test_plain_remi_composes_in_four_four_with_every_style(style):
    """Its tokens have no metres: the corpus' own metre is no obstacle, another one asked for is refused."""
    model, waltz = untrained_of("remi"), {**PROFILES["piano"], "metre": "3/4"}
    for wishes in (parse_wishes(waltz, None, None, None, None), parse_wishes(waltz, None, 90, None, None)):
        (piece,) = compose(model, opening_of_style(style, wishes, model.tokenizer), wishes, Length(bars=3), Sampling())
        assert len(bar_starts(piece.score)) <= 3
        assert [(m.numerator, m.denominator) for m in piece.score.time_signatures] == [(4, 4)]
    with pytest.raises(UserError, match=r"metre=3/4.*4/4"):
        composed(model, Length(bars=1), style=style, metre="3/4")


def test_a_model_that_never_moves_on_is_stopped():
    tokenizer = tokenizer_of("tsd")
    velocity = tokenizer.types.index("Velocity")
    guide = FreeGuide(tokenizer, tokenizer.decode, [tokenizer.bos_id], Length(bars=1))
    taken = 0
    while guide.take(velocity) is not None:
        taken += 1
        assert taken < 3000
    assert taken >= 1024
