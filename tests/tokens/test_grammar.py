"""The walk against MidiTok's decoder: random lawful rows, and the hand-made scores."""

from itertools import pairwise

import numpy as np
import pytest

from midifactory.music.score import bar_starts, seconds_at
from midifactory.tokens.grammar import Controls, Grammar, Walk

SEEDS = range(6)


@pytest.fixture(scope="module")
def grammar(tokenizer):
    return Grammar(tokenizer)


class Stroll:
    """A random row under `Walk.allowed()`; types are drawn first, so that rare ones come often."""

    def __init__(self, grammar, controls=None, seed=0, steps=400, weights=None):
        self.tokenizer = grammar.tokenizer
        self.walk = Walk(grammar, controls or Controls())
        self.ids = [self.tokenizer.bos_id]
        self.notes = []  # (program, tick, pitch, duration)
        self.note_bars = []
        self.note_seconds = []
        generator = np.random.default_rng(seed)
        types = np.array(self.tokenizer.types)
        while len(self.ids) < steps or not self.walk.between_notes:
            mask = self.walk.allowed()
            assert mask.any(), f"dead end after {self.words()[-8:]}"
            mask[self.tokenizer.eos_id] &= not np.delete(mask, self.tokenizer.eos_id).any()
            kinds = sorted(set(types[mask]))
            shares = np.array([(weights or {}).get(kind, 1.0) for kind in kinds])
            kind = generator.choice(kinds, p=shares / shares.sum())
            token = int(generator.choice(np.flatnonzero(mask & (types == kind))))
            assert token != self.tokenizer.eos_id, f"could only end after {self.words()[-8:]}"
            self.walk.step(token)
            self.ids.append(token)
            if kind == "Duration":
                self.notes.append((self.walk._program, self.walk.tick, self.walk._pitch))
                self.note_bars.append(self.walk.bar)
                self.note_seconds.append(self.walk.seconds_at(self.walk.tick))

    def words(self):
        return [self.tokenizer.tokens[i] for i in self.ids]

    def decoded(self):
        return self.tokenizer.decode(self.ids)

    def decoded_notes(self):
        return sorted(
            (-1 if track.is_drum else track.program, note.time, note.pitch, note.duration)
            for track in self.decoded().tracks
            for note in track.notes
        )


@pytest.fixture(scope="module", params=SEEDS)
def stroll(grammar, request):
    # Notes come in runs and metres seldom change, so that rows grow long enough to get lost in.
    return Stroll(grammar, seed=request.param, weights={"Program": 2.0, "Rest": 0.7})


def test_a_lawful_row_never_dead_ends_and_holds_everything(stroll):
    kinds = {word.split("_")[0] for word in stroll.words()}
    assert {"Bar", "TimeSig", "Position", "Tempo", "Program", "Pitch", "Velocity", "Duration", "Rest"} <= kinds
    assert len(stroll.decoded().time_signatures) > 2


def test_the_walks_ticks_are_those_of_the_decoded_score(stroll):
    assert [note[:3] for note in stroll.decoded_notes()] == sorted(stroll.notes)
    assert len(stroll.notes) > 20


def test_the_walks_bars_are_those_of_the_decoded_score(stroll):
    decoded = stroll.decoded()
    onsets = np.array([tick for _, tick, _ in stroll.notes])
    starts = bar_starts(decoded, int(onsets.max()) + 1)
    assert (np.searchsorted(starts, onsets, side="right") - 1).tolist() == stroll.note_bars


def test_the_walks_seconds_are_those_of_the_decoded_score(stroll):
    onsets = np.array([tick for _, tick, _ in stroll.notes])
    np.testing.assert_allclose(stroll.note_seconds, seconds_at(stroll.decoded(), onsets), rtol=1e-5)


def test_onsets_never_go_back(stroll):
    onsets = [tick for _, tick, _ in stroll.notes]
    assert onsets == sorted(onsets)


def test_no_pitch_is_struck_while_it_sounds(stroll):
    until = {}
    for program, tick, pitch, duration in sorted(stroll.decoded_notes(), key=lambda note: note[1]):
        assert tick >= until.get((program, pitch), 0)
        until[program, pitch] = tick + duration


def test_metres_change_at_bar_lines_only(stroll):
    decoded = stroll.decoded()
    for before, after in pairwise(decoded.time_signatures):
        bar = decoded.ticks_per_quarter * 4 * before.numerator // before.denominator
        assert (after.time - before.time) % bar == 0


def test_miditok_finds_no_error_of_type_in_a_lawful_row(stroll):
    graph = stroll.tokenizer.miditok.tokens_types_graph
    words = [word.split("_")[0] for word in stroll.words()[1:]]
    assert [pair for pair in pairwise(words) if pair[1] not in graph[pair[0]]] == []


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_miditok_counts_no_error_where_every_bar_has_its_token(grammar, seed):
    """Its count of positions restarts at Bar tokens, so rests over bar lines would look like errors to it."""
    row = Stroll(grammar, Controls(every_bar=True), seed)
    assert row.tokenizer.miditok.tokens_errors(row.words()[1:]) == 0


def test_real_music_is_lawful(grammar, tokenizer, hand_score):
    """A model that learns from real music must be allowed to say what it learned."""
    walk = Walk(grammar)
    ids = tokenizer.encode(hand_score).ids
    for index, token in enumerate(ids[1:], start=1):
        before = [tokenizer.tokens[i] for i in ids[max(0, index - 6) : index]]
        assert walk.allowed()[token], f"{tokenizer.tokens[token]} after {before}"
        walk.step(int(token))


def test_the_walk_over_real_music_has_the_scores_bars_and_ticks(grammar, tokenizer, hand_score):
    walk, onsets, bars = Walk(grammar), [], []
    for token in tokenizer.encode(hand_score).ids[1:]:
        walk.step(int(token))
        if tokenizer.types[token] == "Duration":
            onsets.append(walk.tick * 480 // tokenizer.miditok.time_division)
            bars.append(walk.bar)
    expected = sorted(note.time for track in hand_score.tracks for note in track.notes)
    assert onsets == expected
    starts = bar_starts(hand_score)
    assert bars == (np.searchsorted(starts, expected, side="right") - 1).tolist()


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_a_metre_control_holds(grammar, seed):
    row = Stroll(grammar, Controls(metre="3/4"), seed)
    assert {word for word in row.words() if word.startswith("TimeSig")} == {"TimeSig_3/4"}
    assert [(s.numerator, s.denominator) for s in row.decoded().time_signatures] == [(3, 4)]


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_a_program_control_holds(grammar, seed):
    row = Stroll(grammar, Controls(programs=(40, -1)), seed)
    assert {program for program, *_ in row.decoded_notes()} == {40, -1}


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_one_voice_has_one_note_an_onset(grammar, seed):
    row = Stroll(grammar, Controls(one_voice=True), seed)
    onsets = [tick for _, tick, _, _ in row.decoded_notes()]
    assert len(onsets) > 20
    assert len(set(onsets)) == len(onsets)


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_every_bar_gives_every_bar_its_token(grammar, seed):
    row = Stroll(grammar, Controls(every_bar=True), seed)
    assert "Rest" in {word.split("_")[0] for word in row.words()}
    assert row.words().count("Bar_None") == row.walk.bar + 1


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_keep_tempo_writes_no_tempo(grammar, seed):
    assert not any(word.startswith("Tempo") for word in Stroll(grammar, Controls(keep_tempo=True), seed).words())


def test_all_controls_together_leave_a_way(grammar):
    controls = Controls("6/8", keep_tempo=True, programs=(0,), one_voice=True, every_bar=True)
    row = Stroll(grammar, controls, seed=7)
    assert len(row.notes) > 20


@pytest.mark.parametrize("seed", SEEDS[:3])
@pytest.mark.parametrize("narrow", [(60, 60), (57, 60), (40, 84)])
def test_a_pitch_range_binds_all_but_the_drums_and_leaves_a_way(grammar, seed, narrow):
    programs = (0, 40, 73, -1)
    controls = Controls(programs=programs, pitch_range=narrow, program_ranges={40: (70, 72), 73: (0, 5)})
    row = Stroll(grammar, controls, seed, weights={"Program": 4.0})
    bounds = {0: narrow, 40: (70, 72), 73: (21, 108), -1: (27, 88)}  # the tokenizer knows no pitch from 0 to 5
    heard = {program: [pitch for other, _, pitch, _ in row.decoded_notes() if other == program] for program in programs}
    for program, (low, high) in bounds.items():
        assert heard[program]
        assert all(low <= pitch <= high for pitch in heard[program])
    assert min(heard[-1]) < 40  # a drum is no pitch
    assert heard[73]
    assert max(heard[73]) > 84


@pytest.mark.parametrize("seed", SEEDS)
def test_a_voice_of_one_pitch_waits_until_it_is_free(grammar, seed):
    controls = Controls(programs=(0, 40), pitch_range=(60, 61), program_ranges={40: (50, 50)})
    row = Stroll(grammar, controls, seed, weights={"Program": 4.0})
    assert {(program, pitch) for program, _, pitch, _ in row.decoded_notes()} == {(0, 60), (0, 61), (40, 50)}
    row = Stroll(grammar, Controls("6/8", True, (0,), True, True, pitch_range=(60, 60)), seed)
    assert len(row.notes) > 20


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_a_program_does_not_go_round_in_chords(grammar, seed):
    """A row that would rather say chords than anything else cannot stay in one place for ever."""
    row = Stroll(grammar, Controls(programs=(0, 40, -1)), seed, weights={"Chord": 1000.0})
    walk, before, found = Walk(grammar), "BOS", []
    for token in row.ids[1:]:
        walk.step(token)
        if walk.type == "Chord" and before == "Program":
            found.append((walk.tick, walk._program))
        before = walk.type
    assert len(found) > 20
    assert max(found.count(place) for place in found) == 2
