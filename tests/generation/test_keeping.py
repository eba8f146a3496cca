"""Variations by a model that knows nothing, against the original as the tokenizer alone reads it."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
import torch
from symusic import Note, Score, Tempo, TimeSignature, Track

from generation.conftest import PROFILES, Untrained
from midifactory.errors import UserError
from midifactory.generation.sampling import Sampling
from midifactory.generation.varying import vary
from midifactory.generation.wishes import bind_range, parse_wishes
from midifactory.models.transformer import Transformer
from midifactory.music.harmony import chords_of_beats
from midifactory.music.joining import bar_lines
from midifactory.music.score import note_arrays
from midifactory.tokens.tokenizer import Tokenizer
from schemes import learnt, tokenizer_of

BAR = 1920


def song(bars: int = 4, seed: int = 0) -> Score:
    """A tune that repeats notes and leaps, chords of one to four notes, a bass and drums; on the grid of sixteenths."""
    random, score = np.random.default_rng(seed), Score(480)
    score.tempos.append(Tempo(0, 100))
    score.time_signatures.append(TimeSignature(0, 4, 4))
    flute, piano, bass, drums = Track("tune", 73), Track("chords", 0), Track("bass", 33), Track("kit", 0, True)
    pitch = 72
    for place in range(bars * 8):
        pitch = int(np.clip(pitch + random.choice([-7, -2, -1, 0, 0, 1, 2, 5]), 62, 86))
        if random.random() < 0.8:
            flute.notes.append(Note(place * 240, int(random.choice([120, 240])), pitch, 80))
    for bar in range(bars):
        for half in (0, 960):
            for step in sorted(random.choice([0, 4, 7, 12, 16], random.integers(1, 5), replace=False)):
                piano.notes.append(Note(bar * BAR + half, 960, 48 + int(step) + int(random.choice([0, 5])), 70))
        bass.notes.append(Note(bar * BAR, 1440, int(random.choice([36, 38, 41, 43])), 90))
        for beat in range(4):
            drums.notes.append(Note(bar * BAR + beat * 480, 120, 38 if beat % 2 else 36, 100))
    score.tracks.extend([flute, piano, bass, drums])
    return score


def untrained_for(tokenizer: Tokenizer) -> Untrained:
    torch.manual_seed(0)
    model = Transformer(tokenizer.vocab_size, d_model=16, heads=2, layers=1, context=2048)
    return Untrained(model.eval(), tokenizer, 2048)


def varied(untrained, score, keep, begin=BAR, end=4 * BAR, seed=0, samples=1, tracks=None):
    wishes = bind_range(parse_wishes(PROFILES["piano"], None, None, None, None), None, untrained.tokenizer)
    return vary(untrained, score, begin, end, keep, wishes, Sampling(), samples, seed, tracks=tracks)


def played(score: Score, begin: int, end: int) -> list[tuple[int, int, int, int]]:
    """(onset, duration, program, velocity) of the notes of a span, sorted."""
    notes = note_arrays(score)
    inside = (notes["onset"] >= begin) & (notes["onset"] < end)
    return sorted(
        zip(*(notes[key][inside].tolist() for key in ("onset", "duration", "program", "velocity")), strict=True)
    )


def as_told(score: Score, tokenizer: Tokenizer) -> Score:
    """The Score as MidiTok's decoder reads it back from its tokens, in its own ticks."""
    heard = tokenizer.decode(tokenizer.to_model_ids(tokenizer.encode(score).ids))
    return heard.resample(score.ticks_per_quarter, min_dur=1)


def tops(score: Score, begin: int, end: int) -> dict[int, list[int]]:
    """The highest pitch of each onset of each program but drums, in the order of time."""
    notes, found = note_arrays(score), defaultdict(dict)
    for onset, pitch, program in zip(notes["onset"], notes["pitch"], notes["program"], strict=True):
        if begin <= onset < end and program >= 0:
            found[int(program)][int(onset)] = max(found[int(program)].get(int(onset), 0), int(pitch))
    return {program: [by_onset[onset] for onset in sorted(by_onset)] for program, by_onset in found.items()}


def ways(pitches: list[int]) -> list[int]:
    return [int(np.sign(after - before)) for before, after in pairwise(pitches)]


@pytest.mark.parametrize("keep", ["rhythm", "contour"])
@pytest.mark.parametrize("name", ["remi_plus", "midi_like", "byte pairs"])
def test_onsets_durations_velocities_and_instruments_are_the_originals(name, keep):
    untrained = untrained_for(learnt("remi_plus") if name == "byte pairs" else tokenizer_of(name))
    score = song()
    expected = as_told(score, untrained.tokenizer)
    for variation in varied(untrained, score, keep, samples=2):
        made = variation.piece.score
        assert played(made, BAR, 4 * BAR) == played(expected, BAR, 4 * BAR)
        assert played(made, 0, BAR) == played(score, 0, BAR)  # not even rounded
        assert variation.broken == 0
        before, after = note_arrays(score), note_arrays(made)
        kit = [notes["pitch"][notes["program"] == -1].tolist() for notes in (before, after)]
        assert kit[0] == kit[1]
        tune = [notes["pitch"][notes["program"] == 73].tolist() for notes in (before, after)]
        assert tune[0] != tune[1]


@pytest.mark.parametrize("keep", ["rhythm", "contour"])
@pytest.mark.parametrize("name", ["remi_plus", "midi_like"])
def test_only_the_tracks_that_are_asked_change(name, keep):
    """The others are the file's own, off the grid as they may be."""
    untrained, score = untrained_for(tokenizer_of(name)), song()
    for note in score.tracks[2].notes:
        note.time += 7
    (variation,) = varied(untrained, score, keep, tracks=(0,))
    made = variation.piece.score
    assert len(made.tracks) == len(score.tracks)
    for index in (1, 2, 3):
        assert made.tracks[index].notes == score.tracks[index].notes
    assert variation.broken == 0
    before, after = (note_arrays(part) for part in (as_told(score, untrained.tokenizer), made))
    tunes = [[notes[key][notes["program"] == 73] for key in ("onset", "pitch")] for notes in (before, after)]
    assert tunes[0][0].tolist() == tunes[1][0].tolist()
    assert tunes[0][1].tolist() != tunes[1][1].tolist()
    if keep == "contour":
        assert ways(tops(made, BAR, 4 * BAR)[73]) == ways(tops(as_told(score, untrained.tokenizer), BAR, 4 * BAR)[73])


def test_tracks_that_tokens_cannot_tell_apart_are_refused(untrained):
    score = song()
    score.tracks[1].program = 73
    with pytest.raises(UserError, match=r"track 2 plays Flute, too.*name it as well"):
        varied(untrained, score, "rhythm", tracks=(0,))
    varied(untrained, score, "rhythm", tracks=(0, 1))
    with pytest.raises(UserError, match="drums keep what they play"):
        varied(untrained, score, "rhythm", tracks=(3,))
    score.tracks[2].notes = type(score.tracks[2].notes)()
    with pytest.raises(UserError, match="no note stands"):
        varied(untrained, score, "rhythm", tracks=(2,))


@pytest.mark.parametrize("seed", range(4))
def test_a_contour_goes_where_the_original_goes(untrained, seed):
    score = song(seed=seed)
    original = tops(as_told(score, untrained.tokenizer), BAR, 4 * BAR)
    (variation,) = varied(untrained_for(untrained.tokenizer), score, "contour", seed=seed)
    found = tops(variation.piece.score, BAR, 4 * BAR)
    assert variation.broken == 0
    assert found.keys() == original.keys()
    assert {program: ways(found[program]) for program in found} == {
        program: ways(original[program]) for program in original
    }
    assert found[73] != original[73]


def test_the_whole_file_from_its_first_bar(untrained):
    score = song(bars=2)
    (variation,) = varied(untrained, score, "rhythm", begin=0, end=2 * BAR)
    assert played(variation.piece.score, 0, 2 * BAR) == played(as_told(score, untrained.tokenizer), 0, 2 * BAR)


def test_bars_after_those_that_are_varied_stay(untrained):
    score = song()
    for keep in ("rhythm", "harmony"):
        (variation,) = varied(untrained_for(untrained.tokenizer), score, keep, begin=BAR, end=2 * BAR)
        for old, new in zip(score.tracks, variation.piece.score.tracks, strict=True):
            assert [note for note in new.notes if note.time >= 2 * BAR] == [
                note for note in old.notes if note.time >= 2 * BAR
            ]


@pytest.mark.parametrize("begin", [0, BAR])
def test_harmony_leaves_the_chords_and_makes_another_rhythm(untrained, begin):
    score, count = song(), 0
    beats, chords = chords_of_beats(score)
    for variation in varied(untrained_for(untrained.tokenizer), score, "harmony", begin=begin, samples=6):
        notes = note_arrays(variation.piece.score)
        new = (notes["onset"] >= begin) & (notes["program"] >= 0)
        beat = np.searchsorted(beats, notes["onset"][new], side="right") - 1
        assert all(int(pitch) % 12 in chords[place] for pitch, place in zip(notes["pitch"][new], beat, strict=True))
        assert played(variation.piece.score, begin, 4 * BAR) != played(score, begin, 4 * BAR)
        assert played(variation.piece.score, 0, begin) == played(score, 0, begin)
        count += int(new.sum())
    assert count >= 12


def test_chords_of_beats_are_those_that_sound():
    score = Score(480)
    score.tracks.append(Track("", 0))
    for beat, pitches in enumerate(([60, 64, 67], [62, 65, 69], [67], [], [71, 74, 65, 67])):
        score.tracks[0].notes.extend([Note(beat * 480, 480, pitch, 80) for pitch in pitches])
    beats, chords = chords_of_beats(score)
    assert beats.tolist() == [480 * beat for beat in range(9)]
    assert chords[0] == {0, 4, 7}
    assert chords[1] == {2, 5, 9}
    assert chords[4] == {7, 11, 2, 5}
    assert chords[2] == chords[3]  # one note, and silence: the bar's


def test_bars_without_notes_are_refused(untrained):
    score = song(bars=1)
    with pytest.raises(UserError, match="no note stands in the bars"):
        varied(untrained, score, "rhythm", begin=2 * BAR, end=3 * BAR)


@pytest.mark.parametrize(("metre", "bar"), [((2, 2), 1920), ((3, 4), 1440), ((7, 16), 840)])
def test_other_metres_and_those_that_the_tokens_do_not_know(untrained, metre, bar):
    score = song()
    score.time_signatures[0] = TimeSignature(0, *metre)
    end = int(bar_lines(score)[-1])
    (variation,) = varied(untrained_for(untrained.tokenizer), score, "rhythm", begin=2 * bar, end=end)
    expected = as_told(score, untrained.tokenizer)
    assert played(variation.piece.score, 2 * bar, end) == played(expected, 2 * bar, end)
    (variation,) = varied(untrained_for(untrained.tokenizer), score, "harmony", begin=2 * bar, end=end)
    before = note_arrays(variation.piece.score)["onset"]
    assert ((before >= 2 * bar) & (before < end)).any()
    assert variation.piece.score.time_signatures == score.time_signatures
