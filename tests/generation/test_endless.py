"""Music without an end: what it plays, that it can be turned at a bar, and that nothing in it grows."""

from collections import deque
from dataclasses import replace
from itertools import pairwise

import pytest

from generation.conftest import PROFILES
from generation.test_schemes import FREE, untrained_of
from midifactory.errors import UserError
from midifactory.generation.endless import Endless
from midifactory.generation.engine import Engine, Row
from midifactory.generation.guide import Length, MusicGuide
from midifactory.generation.pieces import opening_of_style, prompt_opening
from midifactory.generation.presence import wish_of_row
from midifactory.generation.sampling import Sampling
from midifactory.generation.stream import stream
from midifactory.generation.styles import Chords, Free
from midifactory.generation.wishes import Wishes
from midifactory.music.score import note_arrays
from midifactory.tokens.bounds import Controls
from midifactory.tokens.grid_walk import walk_maker

FOUR = Wishes(PROFILES["four_voices"], programs=(73, 68, 71, 70))


def begun(name: str, wishes: Wishes = FOUR, style=None, bars=None, seed=3) -> Endless:
    trained = untrained_of(name)
    music = Endless(trained, seed=seed)
    opening = opening_of_style(style or Free(), wishes, trained.tokenizer)
    music.begin(opening, music.manner(wishes, Sampling(), opening), bars)
    return music


def played(music: Endless, tokens: int) -> list:
    return [note for _ in range(tokens) for note in music.step()]


def heard(note) -> tuple:
    return note.program, note.pitch, note.velocity, note.onset_beats, note.duration_beats


def elements(thing, seen: dict) -> int:
    """How many elements all containers have that a row in progress is made of; tables of the grammar aside."""
    if id(thing) in seen:
        return 0
    seen[id(thing)] = thing  # kept, so that no other gets its id
    if isinstance(thing, (list, tuple, deque, set, dict)):
        inner = thing.values() if isinstance(thing, dict) else thing
        return len(thing) + sum(elements(item, seen) for item in inner)
    if type(thing).__module__.startswith("midifactory.") and type(thing).__name__ not in {
        *("Engine", "Grammar", "Bounds", "Tokenizer", "Manner"),
    }:
        names = getattr(thing, "__dict__", None) or {k: getattr(thing, k) for k in getattr(thing, "__slots__", ())}
        return elements(names, seen)
    return 0


@pytest.mark.parametrize("name", ["remi", "tsd", "bpe"])
def test_the_notes_are_those_of_an_ordinary_row_until_it_is_begun_anew(name):
    trained = untrained_of(name)
    walk = walk_maker(trained.tokenizer, Controls(programs=FOUR.programs))()
    walk.step(trained.tokenizer.bos_id)
    wish = wish_of_row(None, trained.tokenizer, FOUR.programs)
    row = Row([trained.tokenizer.bos_id], MusicGuide(walk, Length(tokens=120), wish=wish), Sampling(), (3, 0))
    bars = frozenset(trained.tokenizer.starting_with("Bar").tolist())
    expected = [heard(note) for note in stream(Engine(trained.model, trained.window, bars), [row])]
    assert [heard(note) for note in played(begun(name), 120)] == expected
    assert len(expected) > 1


@pytest.mark.parametrize("name", [*FREE, "voice_grid"])
def test_no_note_begins_before_what_is_settled(name):
    music = begun(name, Wishes(PROFILES["piano"]) if name == "voice_grid" else replace(FOUR, pitch_range=(60, 64)))
    settled, notes = -1.0, 0
    for _ in range(1200):
        for note in music.step():
            assert note.onset_beats >= settled or note.duration_beats > 16
            notes += 1
        assert music.settled_beats >= settled
        settled = music.settled_beats
    assert notes > 5
    assert settled > 0


@pytest.mark.parametrize("name", [*FREE, "voice_grid"])
def test_nothing_grows(name):
    music = begun(name, Wishes(PROFILES["piano"]) if name == "voice_grid" else replace(FOUR, pitch_range=(60, 64)))
    most = []
    for _ in range(2):
        sizes = []
        for _ in range(8):
            notes = played(music, 100)
            if notes:
                music.forget(notes[-1].bar - 2)
            sizes.append(elements(music, {}))
        most.append(max(sizes))
    assert music.bar > 5
    assert most[1] < 1.3 * most[0] + 50, most


def test_the_count_of_elements_sees_what_grows():
    music = begun("tsd")
    before = elements(music, {})
    music._row.new += [1] * 777
    music._walk.finished += [None] * 111
    assert elements(music, {}) - before == 888


@pytest.mark.parametrize("name", ["remi", "tsd", "per_tok", "midi_like"])
def test_a_turned_bar_changes_what_comes_and_nothing_before(name):
    wishes = replace(FOUR, pitch_range=(60, 64))
    music, same = begun(name, wishes), begun(name, wishes)
    before = played(music, 900)
    assert [heard(note) for note in played(same, 900)] == [heard(note) for note in before]
    bar, beats = music.bars[len(music.bars) // 2]
    kept = [note for note in before if note.bar < bar]
    music.turn(music.manner(replace(wishes, programs=(71,)), Sampling()), bar)
    assert music.bar == bar
    after = played(music, 600)
    assert kept
    assert min(note.bar for note in after) >= bar
    # What was struck before, in MIDI-like tokens, still has to end.
    begins = [note for note in after if note.onset_beats > beats]
    assert {note.program for note in begins} == {71}
    assert begins
    whole = sorted([*kept, *after], key=lambda note: note.onset_beats)
    ends: dict[tuple[int, int], float] = {}
    for note in whole:  # no pitch is struck while it sounds, across the seam either
        assert ends.get((note.program, note.pitch), 0.0) <= note.onset_beats + 1e-9
        ends[note.program, note.pitch] = note.onset_beats + note.duration_beats


def test_without_a_bar_the_next_one_is_turned():
    music = begun("remi")
    played(music, 40)
    number = music.bar
    music.turn(music.manner(replace(FOUR, programs=(68,)), Sampling()), 10**6)
    notes = played(music, 600)
    assert {note.program for note in notes if note.bar > number} == {68}
    assert any(note.bar > number for note in notes)


def test_density_is_obeyed_from_the_turn_on():
    music = begun("remi")
    played(music, 300)
    found = []
    for density in (1.0, 4.0):
        music.turn(music.manner(replace(FOUR, density=density), Sampling()))
        notes = played(music, 1500)
        first, last = notes[len(notes) // 3].onset_beats, notes[-1].onset_beats
        found.append(sum(first <= note.onset_beats < last for note in notes) / (last - first))
    assert found == pytest.approx([1.0, 4.0], rel=0.25)


def test_so_many_bars_and_then_rest():
    music = begun("remi", bars=3)
    notes = []
    while not music.resting:
        notes += music.step()
    assert music.step() == []
    assert max(note.onset_beats for note in notes) < 12
    assert max(note.onset_beats + note.duration_beats for note in notes) > 8  # it may ring there alone
    assert music.settled_beats == float("inf")


def test_a_styles_own_notes_are_played_and_its_chords_go_on_after_the_row_was_begun_anew():
    trained = untrained_of("remi")
    music = Endless(trained, seed=1)
    opening = opening_of_style(Chords("C F"), FOUR, trained.tokenizer)
    notes = music.begin(opening, music.manner(FOUR, Sampling(), opening))
    assert {note.pitch % 12 for note in notes} == {0, 4, 7}
    rows = music._rows
    notes += played(music, 3000)
    assert music._rows > rows + 5
    for bar in range(1, int(notes[-1].onset_beats // 4) - 1):
        struck = {note.pitch % 12 for note in notes if note.onset_beats == 4 * bar}
        ringing = {n.pitch % 12 for n in notes if n.onset_beats < 4 * bar < n.onset_beats + n.duration_beats}
        assert ({5, 9, 0} if bar % 2 else {0, 4, 7}) <= struck | ringing


def test_a_long_prompt_is_gone_on_from_where_it_ends(hand_scores):
    trained = untrained_of("remi")
    score = hand_scores["piano_chords"]
    opening = prompt_opening(score, trained.tokenizer, None, None, FOUR)
    assert len(opening.prompt) > trained.window  # more than the row can read
    music = Endless(trained)
    assert music.begin(opening, music.manner(FOUR, Sampling(), opening), begin_beats=32.0) == []
    notes = played(music, 300)
    assert notes[0].onset_beats >= 32
    assert notes[0].onset_beats < 40
    assert all(a.onset_beats <= b.onset_beats for a, b in pairwise(notes))
    assert len(note_arrays(score)["onset"]) > 0


def test_what_cannot_be_heard_as_it_is_made_is_refused():
    with pytest.raises(UserError, match="one track after the other"):
        Endless(untrained_of("mmm"))
    music = begun("remi")
    with pytest.raises(UserError, match=r"rhythm_grid=0\.37"):
        music.manner(replace(FOUR, rhythm_grid=0.37), Sampling())
