"""What is wished is heard: counted in the notes that an untrained model plays under each wish, and without."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from generation.conftest import PROFILES
from generation.test_schemes import untrained_of
from midifactory.generation.guide import Length
from midifactory.generation.pieces import compose, opening_of_style
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free
from midifactory.generation.wishes import bind_controls, parse_wishes
from midifactory.music.score import bar_starts, note_arrays

NOTHING = {
    "instruments": None, "polyphony": None, "density": None, "rhythm_grid": None, "harmony": None,
    "harmony_strength": 3.0, "repetition_penalty": 1.0,
}  # fmt: skip
NAMES = ("remi", "tsd", "midi_like", "structured", "per_tok", "bpe")


def heard(name: str, bars: int = 6, seed: int = 0, temperature: float = 1.0, **asked):
    model = untrained_of(name)
    wishes = bind_controls(parse_wishes(PROFILES["piano"], None, None, None, None), NOTHING | asked, model.tokenizer)
    opening = opening_of_style(Free(), wishes, model.tokenizer)
    (piece,) = compose(model, opening, wishes, Length(bars=bars), Sampling(temperature), seed=seed)
    return piece.score


@pytest.mark.parametrize("name", NAMES)
def test_all_controls_together_hold_in_the_score(name):
    asked = {"instruments": ["piano", "violin", "drums"], "polyphony": 3, "rhythm_grid": 0.5, "harmony": "C F"}
    score = heard(name, 16, temperature=2.0, density=2, **asked)
    notes = note_arrays(score)
    assert set(notes["program"].tolist()) <= {0, 40, -1}
    ends = notes["onset"] + notes["duration"]
    for onset in np.unique(notes["onset"]):
        assert ((notes["onset"] <= onset) & (ends > onset)).sum() <= 3
        start = max(start for start in bar_starts(score) if start <= onset)
        assert (onset - start) % 240 == 0
    assert len(notes["onset"]) > 3


@pytest.mark.parametrize("name", NAMES)
def test_a_harmony_is_what_most_notes_of_a_bar_belong_to(name):
    score = heard(name, bars=8, harmony="C F#", harmony_strength=50.0, instruments=[0], density=3)
    notes, starts = note_arrays(score), bar_starts(score)
    bars = np.searchsorted(starts, notes["onset"], side="right") - 1
    chords = [{0, 4, 7}, {6, 10, 1}]
    assert len(bars) > 6
    inside = [int(pitch) % 12 in chords[bar % 2] for pitch, bar in zip(notes["pitch"], bars, strict=True)]
    ends = notes["onset"] + notes["duration"]
    for index in np.flatnonzero(~np.array(inside)):
        # Others come only where all pitches of the chord sound. PerTok's notes may stand just before their bar.
        onset, after = notes["onset"][index], bars[index] + (name == "per_tok")
        sounding = set(notes["pitch"][(notes["onset"] <= onset) & (ends > onset)].tolist())
        allowed = [chords[bar % 2] for bar in {bars[index], after}]
        pitch = int(notes["pitch"][index])
        assert any(
            pitch % 12 in chord or {p for p in range(21, 109) if p % 12 in chord} <= sounding for chord in allowed
        )


@pytest.mark.parametrize("name", ["remi", "tsd", "structured", "bpe"])
@pytest.mark.parametrize("density", [1.0, 4.0])
def test_a_density_is_kept(name, density):
    score = heard(name, bars=8, density=density)
    assert score.note_num() / 32 == pytest.approx(density, rel=0.25)


def test_a_repetition_penalty_spreads_the_notes():
    def most_common(penalty: float) -> int:
        notes = note_arrays(heard("remi", bars=12, instruments=[0], density=4, repetition_penalty=penalty))
        return max(Counter(notes["pitch"].tolist()).values())

    assert most_common(10.0) < most_common(1.0)


def test_no_wish_is_no_bias_and_changes_nothing():
    model = untrained_of("tsd")
    plain = parse_wishes(PROFILES["piano"], None, None, None, None)
    opening = opening_of_style(Free(), plain, model.tokenizer)
    pieces = [
        compose(model, opening, wishes, Length(bars=2), Sampling())[0].ids
        for wishes in (plain, replace(plain, repetition_penalty=1.0, harmony=(), density=None))
    ]
    assert pieces[0] == pieces[1]
