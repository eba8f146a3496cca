"""Moved ids are the ids of the moved Score: MidiTok is the oracle."""

from types import SimpleNamespace

import miditok
import numpy as np
import pytest
from miditok import TokenizerConfig
from symusic import KeySignature

from midifactory.errors import UserError
from midifactory.tokens.augment import Augmentation, Augmenter

DRUMS = -1
SCHEMES = ("REMI", "TSD", "MIDILike", "Structured", "PerTok", "MMM")
PERTOK = {"ticks_per_quarter": 480, "use_microtiming": True, "max_microtiming_shift": 0.125, "num_microtiming_bins": 30}
# Sharps (flats below 0) of the major key so many semitones above C.
MAJOR_KEYS = {-5: 1, -4: -4, -3: 3, -2: -2, -1: 5, 0: 0, 1: -5, 2: 2, 3: -3, 4: 4, 5: -1}


def make(scheme, **changes):
    """A MidiTok tokenizer with all that has a pitch, and what the Augmenter asks of one."""
    fields = {
        **{"use_programs": True, "use_chords": True, "chord_tokens_with_root_note": True, "use_tempos": True},
        **{"use_pitchdrum_tokens": True, "chord_unknown": (3, 6), "num_tempos": 40, "use_key_signatures": True},
        **({"base_tokenizer": "REMI"} if scheme == "MMM" else {}),
        **(PERTOK if scheme == "PerTok" else {}),
        **changes,
    }
    inner = getattr(miditok, scheme)(TokenizerConfig(**fields))
    return SimpleNamespace(inner=inner, tokens=[inner[number] for number in range(len(inner))])


def encode(tokenizer, score):
    sequences = tokenizer.inner.encode(score)
    return np.array((sequences if not isinstance(sequences, list) else sequences[0]).ids)


@pytest.fixture
def band(score_from):
    """Chords with roots, a chord unknown to MidiTok, a melody in leaps and steps, drums, and four tempos."""
    chords = [(4 * bar, 2, 48 + root + tone, 60) for bar, root in enumerate((0, 5, 7, 9)) for tone in (0, 4, 7)]
    chords += [(16, 2, 50 + tone, 60) for tone in (0, 1, 2, 11)]
    melody = [(beat / 2, 0.5, 72 + (beat * 7) % 11, 40 + beat) for beat in range(36)]
    kit = [(beat, 0.25, (36, 42)[beat % 2], 90) for beat in range(18)]
    return score_from(
        [(0, chords), (73, melody), (DRUMS, kit)], tempos=((0, 120), (3, 60), (6.5, 150), (10, 84)), metres=((0, 4, 4),)
    )


def transposed(score, semitones):
    moved = score.copy()
    for track in moved.tracks:
        if not track.is_drum:
            for note in track.notes:
                note.pitch += semitones
    return moved


class Draw:
    """A generator that draws what the test wants; `integers` takes its n-th of all values that are possible."""

    def __init__(self, index=0, uniform=0.0):
        self.index, self.share, self.bounds = index, uniform, (0, 0)

    def integers(self, low, high=None):
        self.bounds = (0, low) if high is None else (int(low), int(high))
        return range(*self.bounds)[self.index]

    def uniform(self, low, high):
        return self.share * high


@pytest.mark.parametrize("intervals", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_transposed_ids_are_those_of_the_transposed_score(scheme, intervals, band):
    tokenizer = make(scheme, use_pitch_intervals=intervals)
    augmenter = Augmenter(tokenizer, Augmentation(semitones=5))
    source = encode(tokenizer, band)
    before = source.copy()
    types = {tokenizer.tokens[i].split("_")[0] for i in source}
    assert scheme == "Structured" or "Chord" in types
    assert types & {"PitchDrum", "DrumOn"}
    assert ("PitchIntervalTime" in types) == (intervals and scheme != "Structured")
    for index, semitones in enumerate(range(-5, 6)):
        draw = Draw(index)
        moved = augmenter.apply(source, draw)
        assert draw.bounds == (-5, 6)
        score = transposed(band, semitones)
        score.key_signatures.append(KeySignature(0, MAJOR_KEYS[semitones], 0))
        np.testing.assert_array_equal(moved, encode(tokenizer, score))
        assert (moved != source).any() == (semitones != 0)
    np.testing.assert_array_equal(source, before)


def test_key_signatures_move_along_the_circle_of_fifths(band):
    tokenizer = make("REMI")
    augmenter = Augmenter(tokenizer, Augmentation(semitones=12))
    known = {(0, 2): 2, (0, 7): 1, (0, -7): -1, (0, 1): -5, (-3, 3): -6 % 12, (3, -3): 6, (0, 12): 0, (-7, 0): -7}
    for (sharps, semitones), expected in known.items():
        source = np.array([tokenizer.inner[f"KeySig_{sharps}:0"]])
        moved = augmenter.apply(source, Draw(semitones + 12))
        assert tokenizer.tokens[moved[0]] == f"KeySig_{expected}:0", (sharps, semitones)


@pytest.mark.parametrize("intervals", [False, True])
@pytest.mark.parametrize("scheme", ["REMI", "MIDILike", "MMM"])
def test_only_shifts_within_the_range_are_drawn(scheme, intervals, score_from):
    """The lowest pitch may go down by 2, the highest up by 1; drums at the edge of their range bound nothing."""
    tokenizer = make(scheme, use_pitch_intervals=intervals, pitch_range=(40, 90))
    steps = [*range(42, 90, 6), 89, *range(80, 50, -7)]  # each within an interval token of the one before
    notes = [(place / 2, 0.5, pitch, 80) for place, pitch in enumerate(steps)]
    kit = [(beat, 0.25, 27 if beat % 2 else 88, 90) for beat in range(6)]
    ids = encode(tokenizer, score_from([(0, notes), (DRUMS, kit)]))
    draw = Draw()
    Augmenter(tokenizer, Augmentation(semitones=6)).apply(ids, draw)
    assert draw.bounds == (-2, 2)


def test_the_ends_of_the_range_can_be_reached_and_every_shift_is_drawn(score_from):
    tokenizer = make("REMI", pitch_range=(40, 90))
    ids = encode(tokenizer, score_from([(0, [(0, 1, 40, 80), (1, 1, 87, 80)])]))
    augmenter, generator = Augmenter(tokenizer, Augmentation(semitones=12)), np.random.default_rng(3)
    pitches = [i for i, token in enumerate(tokenizer.tokens) if token.startswith("Pitch_")]
    lows = [augmenter.apply(ids, generator)[np.isin(ids, pitches)][0] for _ in range(400)]
    found, counts = np.unique([int(tokenizer.tokens[low].split("_")[1]) for low in lows], return_counts=True)
    assert found.tolist() == [40, 41, 42, 43]
    assert counts.min() > 60  # uniform: 100 each, standard deviation 8.7


@pytest.mark.parametrize("scheme", SCHEMES)
def test_louder_ids_are_those_of_the_louder_score(scheme, band):
    tokenizer = make(scheme)
    augmenter, source = Augmenter(tokenizer, Augmentation(velocity_steps=20)), encode(tokenizer, band)
    bins = tokenizer.inner.velocities
    for steps in (-20, -1, 0, 3, 20):
        louder = tokenizer.inner.preprocess_score(band.copy())
        for track in louder.tracks:
            for note in track.notes:
                place = int(np.abs(bins - note.velocity).argmin()) + steps
                note.velocity = int(bins[min(max(place, 0), len(bins) - 1)])
        sequence = tokenizer.inner.encode(louder, no_preprocess_score=True)
        np.testing.assert_array_equal(augmenter.apply(source, Draw(steps + 20)), sequence.ids)


@pytest.mark.parametrize("scheme", ["REMI", "TSD", "MIDILike", "PerTok", "MMM"])
def test_faster_ids_carry_the_nearest_tempo_bins(scheme, band):
    tokenizer = make(scheme, log_tempos=True)
    augmenter, source = Augmenter(tokenizer, Augmentation(tempo_share=0.25)), encode(tokenizer, band)
    values = np.array(
        [float(token.split("_")[1]) if token.startswith("Tempo_") else np.nan for token in tokenizer.tokens]
    )
    bins = values[~np.isnan(values)]
    assert (~np.isnan(values[source])).sum() >= 4  # MMM tells each track the tempos anew
    for share in (-1, -0.4, 0, 0.1, 1):
        moved = augmenter.apply(source, Draw(uniform=share))
        is_tempo = ~np.isnan(values[source])
        for old, new in zip(values[source[is_tempo]], values[moved[is_tempo]], strict=True):
            ratios = np.maximum(bins / (old * 1.25**share), old * 1.25**share / bins)
            assert new == bins[ratios.argmin()]
        np.testing.assert_array_equal(moved[~is_tempo], source[~is_tempo])
    assert (augmenter.apply(source, Draw(uniform=0)) == source).all()


def test_the_projects_tokenizer_and_all_three_at_once(tokenizer, hand_score):
    augmenter = Augmenter(tokenizer, Augmentation(semitones=3, velocity_steps=2, tempo_share=0.1))
    ids = tokenizer.encode(hand_score).ids
    first, second = (augmenter.apply(ids, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.int64
    assert [tokenizer.types[i] for i in first] == [tokenizer.types[i] for i in ids]
    assert any((augmenter.apply(ids, np.random.default_rng(seed)) != ids).any() for seed in range(3))
    np.testing.assert_array_equal(Augmenter(tokenizer, Augmentation()).apply(ids, np.random.default_rng(0)), ids)
    assert Augmenter(tokenizer, Augmentation(semitones=3)).apply(ids[:0], np.random.default_rng(0)).shape == (0,)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"semitones": -1}, "semitones=-1"),
        ({"semitones": 13}, "from 0 .off. to 12"),
        ({"semitones": 1.5}, "semitones=1.5"),
        ({"velocity_steps": -2}, "velocity_steps=-2"),
        ({"tempo_share": -0.1}, "tempo_share=-0.1"),
        ({"tempo_share": float("nan")}, "tempo_share=nan"),
    ],
)
def test_settings_outside_the_limits_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        Augmentation(**settings)


def test_drums_written_as_pitches_are_refused():
    mixed = make("REMI", use_pitchdrum_tokens=False)
    with pytest.raises(UserError, match=r"semitones=2: .*use_pitchdrum_tokens=true"):
        Augmenter(mixed, Augmentation(semitones=2))
    Augmenter(mixed, Augmentation(velocity_steps=2))
    Augmenter(make("REMI", use_pitchdrum_tokens=False, programs=[0, 1]), Augmentation(semitones=2))
