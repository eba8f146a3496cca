"""A model that knows nothing but one piece repeats it, unless it is kept from copying."""

from functools import cache

import numpy as np
import pytest
import torch
from symusic import Note, Score, Track

from generation.conftest import PROFILES, Untrained
from generation.test_schemes import Parrot, untrained_of
from midifactory.errors import UserError
from midifactory.generation.copies import CopyGuard
from midifactory.generation.guide import Length
from midifactory.generation.pieces import compose, opening_of_style, prompt_opening
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free
from midifactory.generation.wishes import bind_range, parse_wishes
from midifactory.music.originality import Originality, OriginalityIndex, build_index
from midifactory.tokens.grid import VoiceGrid
from midifactory.tokens.grid_walk import GridWalk
from midifactory.tokens.tokenizer import Tokenizer
from schemes import learnt, tokenizer_of

NAMES = ("remi", "remi_plus", "tsd", "midi_like", "structured", "bpe", "voice_grid")
BARS = 9


def tokenizer_named(name: str) -> Tokenizer:
    return learnt("remi_plus") if name == "bpe" else tokenizer_of(name)


@cache
def music() -> Score:
    """A tune, and chords of up to four notes below it; without repeats."""
    generator, score = np.random.default_rng(5), Score(480)
    upper, lower = Track(program=0), Track(program=0)
    for step in range(8 * BARS):
        if generator.random() < 0.7:
            upper.notes.append(Note(240 * step, 240, int(generator.integers(62, 80)), 80))
    for beat in range(4 * BARS):
        for pitch in generator.choice(np.arange(40, 61), int(generator.integers(0, 4)), replace=False).tolist():
            lower.notes.append(Note(480 * beat, 480, pitch, 64))
    score.tracks.append(upper)
    score.tracks.append(lower)
    return score


@cache
def heard(name: str) -> Score:
    """The music as its tokens tell it."""
    tokenizer = tokenizer_named(name)
    return tokenizer.decode(tokenizer.to_model_ids(tokenizer.encode(music()).ids))


class Repeater(Parrot):
    """Says the ids of `music` from its begin, whatever it has been made to say instead."""

    def __init__(self, tokenizer: Tokenizer):
        torch.nn.Module.__init__(self)
        self.vocab_size = tokenizer.vocab_size
        self.ids = torch.from_numpy(tokenizer.to_model_ids(tokenizer.encode(music()).ids))[1:-1]
        self.unused = torch.nn.Parameter(torch.zeros(1))


def composed(name: str, copies: CopyGuard | None, seed: int = 0, prompt=None):
    tokenizer = tokenizer_named(name)
    model = Untrained(Repeater(tokenizer), tokenizer, 100_000)
    wishes = parse_wishes(PROFILES["piano"], None, None, None, None)
    if prompt is None:
        opening = opening_of_style(Free(), wishes, tokenizer)
    else:
        opening = prompt_opening(prompt, tokenizer, 2, None, wishes)
    length = Length(bars=BARS - 2)
    (piece,) = compose(model, opening, wishes, length, Sampling(), seed=seed, copies=copies)
    return piece


@pytest.fixture(scope="module")
def index_of(tmp_path_factory):
    """A function that gives the originality of scores."""

    def build(*scores) -> Originality:
        folder = tmp_path_factory.mktemp("store") / "index"
        build_index(folder, ((str(number), score) for number, score in enumerate(scores)))
        return Originality([OriginalityIndex(folder)])

    return build


@pytest.mark.parametrize("name", NAMES)
def test_no_copy_is_longer_than_asked(name, index_of):
    originality = index_of(heard(name))
    unguarded = originality.of(composed(name, None).score)
    assert unguarded.exact.beats > 4 * (BARS - 4)
    for beats in (2.0, 10.5):
        report = originality.of(composed(name, CopyGuard(originality, tokenizer_named(name), beats)).score)
        assert report.exact_beats <= report.transposed_beats <= beats
        assert report.ngrams < unguarded.ngrams
    assert report.exact_beats > 5  # it does repeat what it may


@pytest.mark.parametrize("name", ["remi_plus", "midi_like", "voice_grid"])
def test_a_transposed_training_piece_is_not_copied_either(name, index_of):
    score = heard(name)
    originality = index_of(score.copy().shift_pitch(3))
    assert originality.of(composed(name, None).score).transposed_beats > 4 * (BARS - 4)
    report = originality.of(composed(name, CopyGuard(originality, tokenizer_named(name), 4.0)).score)
    assert report.transposed_beats <= 4


@pytest.mark.parametrize("name", ["remi_plus", "bpe"])
def test_what_stands_in_the_prompt_does_not_count(name, index_of):
    """The guard begins where the model does, and the copy may last its full length from there."""
    originality = index_of(heard(name))
    guard = CopyGuard(originality, tokenizer_named(name), 6.0)
    piece = composed(name, guard, prompt=music())
    assert originality.of(piece.score, piece.prompt_end_tick).transposed_beats <= 6
    without = composed(name, None, prompt=music())
    assert piece.ids[: len(without.ids) // 4] == without.ids[: len(without.ids) // 4]


@pytest.mark.parametrize("name", ["remi", "tsd", "bpe"])
def test_models_of_few_words_repeat_none_for_long(name, index_of):
    """Eight pitches and pieces by the same model: much is equal by chance, in chords and in any order of tokens."""
    model = untrained_of(name)
    wishes = bind_range(parse_wishes(PROFILES["piano"], None, None, None, None), (60, 67), model.tokenizer)
    opening = opening_of_style(Free(), wishes, model.tokenizer)

    def pieces(seed, copies=None, samples=2):
        found = compose(
            model, opening, wishes, Length(bars=4), Sampling(0.3), samples, seed, key_strength=0.0, copies=copies
        )
        return [piece.score for piece in found]

    originality = index_of(*(pieces(0)))
    free = [originality.of(score).transposed_beats for score in pieces(0)]
    assert max(free) > 1
    guard = CopyGuard(originality, model.tokenizer, 0.5)
    for score in pieces(0, guard):
        assert originality.of(score).transposed_beats <= 0.5


def test_a_drum_corpus_is_watched_for_its_drums(index_of):
    kit, score = Track(is_drum=True), Score(480)
    generator = np.random.default_rng(1)
    for step in range(16 * BARS):
        kit.notes.append(Note(120 * step, 120, int(generator.choice([36, 38, 42, 46])), 90))
    score.tracks.append(kit)
    tokenizer = tokenizer_of("remi_plus")
    parrot = Repeater(tokenizer)
    parrot.ids = torch.from_numpy(tokenizer.encode(score).ids)[1:-1]
    wishes = parse_wishes(PROFILES["piano"], None, None, None, None)
    originality = index_of(tokenizer.decode(tokenizer.encode(score).ids))
    longest = []
    for copies in (None, CopyGuard(originality, tokenizer, 3.0)):
        (piece,) = compose(
            Untrained(parrot, tokenizer, 10_000),
            opening_of_style(Free(), wishes, tokenizer),
            wishes,
            Length(bars=BARS - 2),
            Sampling(),
            copies=copies,
        )
        longest.append(originality.of(piece.score).transposed_beats)
    assert longest[0] > 20
    assert longest[1] <= 3


def test_guards_of_two_rows_do_not_mix(index_of):
    originality = index_of(heard("remi_plus"))
    guard = CopyGuard(originality, tokenizer_of("remi_plus"), 4.0)
    alone = [composed("remi_plus", guard, seed).ids for seed in (0, 0)]
    assert alone[0] == alone[1]


@pytest.mark.parametrize("beats", [0, -1, float("inf"), float("nan")])
def test_a_limit_that_is_none_is_refused(beats, index_of):
    with pytest.raises(UserError, match="max_copy_beats"):
        CopyGuard(index_of(music()), tokenizer_of("remi_plus"), beats)


@pytest.mark.parametrize("name", ["mmm", "per_tok"])
def test_tokens_that_tell_onsets_too_late_are_refused(name, index_of):
    with pytest.raises(UserError, match="leave it out"):
        CopyGuard(index_of(music()), tokenizer_of(name), 8.0)


def test_the_grid_walk_says_what_is_held():
    tokenizer = VoiceGrid()
    walk, pitch = GridWalk(tokenizer), tokenizer.tokens.index("Pitch_60")
    silence = tokenizer.silence(1)[0]
    for id_ in (pitch, silence, silence, silence):
        walk.step(id_)
    assert (walk.held, walk.begun, walk.last_begun) == (60, 1, 60)
    walk.step(pitch)
    assert (walk.held, walk.begun) == (-1, 1)
