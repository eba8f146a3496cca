"""The walk over a voice grid: random rows against the grid's own decoder and encoder."""

from collections import Counter

import numpy as np
import pytest

from midifactory.errors import UserError
from midifactory.tokens.grid import STEPS_PER_BEAT, VOICES
from midifactory.tokens.grid_walk import GridWalk, walk_maker
from midifactory.tokens.walk import Controls
from schemes import tokenizer_of


@pytest.fixture(scope="module")
def grid():
    return tokenizer_of("voice_grid")


def row_of(grid, controls=None, seed=0, cells=400):
    """A row that holds its pitches now and then, and its walk."""
    walk, generator, ids = GridWalk(grid, controls), np.random.default_rng(seed), [grid.bos_id]
    allowed = np.flatnonzero(walk.allowed())
    while len(ids) < cells or not walk.between_notes:
        held = ids[-VOICES] if len(ids) > VOICES else -1
        id_ = held if held in allowed and generator.random() < 0.6 else int(generator.choice(allowed))
        walk.step(id_)
        ids.append(id_)
    return walk, ids


def notes_of(grid, ids):
    score = grid.decode(ids)
    step = score.ticks_per_quarter // STEPS_PER_BEAT
    return Counter(
        (track.program, note.time // step, note.pitch, note.duration // step)
        for track in score.tracks
        for note in track.notes
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_decoded_notes_are_those_finished_and_those_still_held(grid, seed):
    walk, ids = row_of(grid, seed=seed)
    heard = notes_of(grid, ids)
    told = Counter((note.program, note.onset_ticks, note.pitch, note.duration_ticks) for note in walk.finished)
    held = heard - told
    assert told - heard == Counter()
    assert told.total() == walk.notes > 20
    assert all(onset + length == walk.tick for _, onset, _, length in held)
    assert all(walk.sounds(program, pitch) for program, _, pitch, _ in held)


@pytest.mark.parametrize("seed", range(3))
def test_encoding_what_was_decoded_keeps_every_note(grid, seed):
    _, ids = row_of(grid, seed=seed)
    assert notes_of(grid, grid.encode(grid.decode(ids)).ids) == notes_of(grid, ids)


def test_controls_hold(grid):
    controls = Controls(pitch_range=(55, 67), pitch_classes=frozenset({0, 4, 7}))
    _, ids = row_of(grid, controls)
    assert {pitch for _, _, pitch, _ in notes_of(grid, ids)} == {55, 60, 64, 67}


def test_steps_are_sixteenths_of_bars_in_four_four(grid):
    walk, _ = row_of(grid, cells=1 + VOICES * 20)
    assert (walk.tick, walk.bar, walk.bar_tick, walk.bar_ticks) == (20, 1, 16, 16)
    walk.set_tempo(60)
    assert walk.seconds_at(walk.tick) == 5
    silence = int(np.flatnonzero(walk.allowed())[0])
    assert walk.after(silence) == (1, 20)
    other = walk.copy()
    other.step(silence)
    assert (other.between_notes, walk.between_notes, walk.tick) == (False, True, 20)


def test_a_bar_is_opened_by_the_first_of_its_cells(grid):
    walk = GridWalk(grid)
    silence, opened = int(np.flatnonzero(walk.allowed())[0]), []
    walk.step(grid.bos_id)
    for cell in range(3 * 16 * VOICES):
        walk.step(silence)
        if walk.opened_bar:
            opened.append(cell)
    assert opened == [0, 16 * VOICES, 32 * VOICES]


@pytest.mark.parametrize("controls", [{"programs": (0,)}, {"polyphony": 2}, {"grid": 0.5}])
def test_controls_without_tokens_are_refused(grid, controls):
    with pytest.raises(UserError, match=f"{next(iter(controls))}: a voice grid has four voices"):
        walk_maker(grid, Controls(**controls))


def test_a_range_without_pitches_is_refused(grid):
    with pytest.raises(UserError, match="no pitch is left to sing"):
        walk_maker(grid, Controls(pitch_range=(0, 1)))
