"""Controls hold in what is decoded, for every tokenizer, plain and with byte pairs; counted naively on the Score."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from strolls import KINDS, Stroll, grammar_of, words_of

from midifactory.errors import UserError
from midifactory.music.score import bar_starts
from midifactory.tokens.grid_walk import walk_maker
from midifactory.tokens.walk import Controls
from schemes import SAYS, tokenizer_of

C_MAJOR = frozenset({0, 2, 4, 5, 7, 9, 11})
WITH_POLYPHONY = [kind for kind in KINDS if kind[0] != "mmm"]
every_kind = pytest.mark.parametrize(("name", "pairs"), KINDS)


def stroll(name, pairs, controls=None, seed=0, steps=200, **aims):
    row = Stroll(grammar_of(name, pairs), controls, seed, steps, **aims)
    assert row.notes
    return row


def bars_of(row):
    """The bar in which each note begins, and the ticks since that bar began."""
    onsets = np.array([onset for _, onset, _, _, _ in row.notes])
    starts = bar_starts(row.tokenizer.decode(row.ids), int(onsets.max()) + 1)
    bars = np.searchsorted(starts, onsets, side="right") - 1
    return bars, onsets - starts[bars]


def silent_bars(row):
    """Bars up to the last note's in which none sounds."""
    last = max(onset for _, onset, _, _, _ in row.notes)
    starts = [*bar_starts(row.tokenizer.decode(row.ids), last + 1).tolist(), last + 1]
    return [
        bar
        for bar, (begin, end) in enumerate(pairwise(starts))
        if not any(onset < end and onset + length > begin for _, onset, _, length, _ in row.notes)
    ]


def most_at_once(row):
    return max(sum(o <= onset < o + length for _, o, _, length, _ in row.notes) for _, onset, _, _, _ in row.notes)


@every_kind
def test_a_metre_holds(name, pairs):
    row = stroll(name, pairs, Controls(metre="3/4"))
    assert {value for type_, value in words_of(row.tokenizer, row.ids) if type_ == "TimeSig"} <= {"3/4"}
    if "Bar" in row.types() and SAYS[name][1]:
        assert {(s.numerator, s.denominator) for s in row.tokenizer.decode(row.ids).time_signatures} == {(3, 4)}


@every_kind
def test_keep_tempo_writes_no_tempo(name, pairs):
    assert "Tempo" not in stroll(name, pairs, Controls(keep_tempo=True)).types()


@every_kind
def test_programs_hold(name, pairs):
    row = stroll(name, pairs, Controls(programs=(0, 40, -1)))
    heard = {program for program, *_ in row.notes}
    assert heard <= {0, 40, -1}
    assert len(heard) >= 2
    assert {value for type_, value in words_of(row.tokenizer, row.ids) if type_ == "Program"} <= {"0", "40", "-1"}


@pytest.mark.parametrize(("name", "pairs"), WITH_POLYPHONY)
@pytest.mark.parametrize("limit", [1, 3])
def test_polyphony_holds(name, pairs, limit):
    row = stroll(name, pairs, Controls(programs=(0, 33, -1), polyphony=limit))
    assert most_at_once(row) == limit


def test_polyphony_is_refused_where_tracks_come_one_after_the_other():
    with pytest.raises(UserError, match="polyphony=1: MMM writes one track after the other"):
        walk_maker(tokenizer_of("mmm"), Controls(polyphony=1))


@every_kind
def test_every_bar_has_a_note_and_its_token(name, pairs):
    row = stroll(name, pairs, Controls(every_bar=True), steps=300)
    bars, _ = bars_of(row)
    assert set(bars) == set(range(max(bars) + 1))
    assert max(bars) > 1
    if name in {"remi", "remi_plus"}:
        assert row.words().count("Bar_None") == row.walk.bar + 1


@every_kind
@pytest.mark.parametrize("narrow", [(60, 60), (57, 60)])
def test_a_pitch_range_binds_all_but_the_drums_and_leaves_a_way(name, pairs, narrow):
    programs = (0, 40, 73, -1)
    controls = Controls(programs=programs, pitch_range=narrow, program_ranges={40: (70, 71), 73: (0, 5)})
    row = stroll(name, pairs, controls, steps=400)
    bounds = {0: narrow, 40: (70, 71), 73: (21, 109), -1: (27, 88)}  # the tokenizers know no pitch from 0 to 5
    heard = {program: {pitch for other, _, pitch, _, _ in row.notes if other == program} for program in programs}
    for program, (low, high) in bounds.items():
        assert heard[program]
        assert heard[program] <= set(range(low, high + 1))


@every_kind
def test_pitch_classes_bind_all_but_the_drums(name, pairs):
    row = stroll(name, pairs, Controls(programs=(0, 33, -1), pitch_classes=C_MAJOR))
    assert {pitch % 12 for program, _, pitch, _, _ in row.notes if program >= 0} <= C_MAJOR
    assert {pitch % 12 for program, _, pitch, _, _ in row.notes if program < 0} - C_MAJOR


@every_kind
@pytest.mark.parametrize("grid", [0.25, 0.5, 1 / 3])
def test_notes_begin_on_the_grid(name, pairs, grid):
    row = stroll(name, pairs, Controls(grid=grid))
    steps = bars_of(row)[1] / (grid * row.walk.ticks_per_quarter)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    assert len(set(steps)) > 2


@every_kind
@pytest.mark.parametrize("every_bar", [False, True])
def test_the_last_bar_sounds_and_nothing_begins_after_it(name, pairs, every_bar):
    row = stroll(name, pairs, Controls(every_bar=every_bar), end_bar=3, steps=4000)
    assert row.ended
    bars, _ = bars_of(row)
    assert max(bars) <= 2
    ends = bar_starts(row.tokenizer.decode(row.ids), max(onset + length for _, onset, _, length, _ in row.notes))
    assert len(ends) >= 3


@every_kind
def test_no_id_passes_over_a_bar_line(name, pairs):
    row = stroll(name, pairs, keeps_bar_lines=True, steps=300)
    walk = type(row.walk)(row.grammar)
    for id_ in row.ids[1:]:
        bar, track = walk.bar, walk.place.tracks
        walk.step(id_)
        if walk.bar > max(bar, 0) and walk.place.tracks == track:
            assert walk.bar == bar + 1
            # the id itself may go on in the bar that it opens
            assert walk.tick == walk.bar_tick or "Bar" in {row.tokenizer.types[i] for i in row.grammar.parts[id_]}


@every_kind
def test_no_note_begins_before_the_tick_given(name, pairs):
    earliest = 5 * grammar_of(name).places.ticks_per_quarter + 1
    row = stroll(name, pairs, not_before=earliest)
    assert min(onset for _, onset, _, _, _ in row.notes) >= earliest


@every_kind
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("aims", [{}, {"end_bar": 4, "keeps_bar_lines": True}])
def test_all_controls_together_leave_a_way(name, pairs, narrow, aims):
    controls = Controls("6/8", True, (0, 40, -1), 3, True, (48, 72), {}, C_MAJOR, 0.25)
    if narrow:
        controls = Controls("6/8", True, (0,), 1, True, (60, 60), grid=0.5)
    if name == "mmm":
        controls = replace(controls, polyphony=None)
    row = stroll(name, pairs, controls, **aims)
    assert not row.types() & {"Tempo"}
    assert {program for program, *_ in row.notes} <= set(controls.programs)
    low, high = controls.pitch_range
    assert all(low <= pitch <= high for program, _, pitch, _, _ in row.notes if program >= 0)
    bars, within = bars_of(row)
    assert (within % (row.walk.ticks_per_quarter * controls.grid) == 0).all()
    assert silent_bars(row) == []
    if name != "mmm":  # where time begins anew with each track
        assert row.ended == bool(aims)
        assert most_at_once(row) <= controls.polyphony
    if aims:
        assert max(bars) <= 3
    if name in {"remi", "remi_plus"}:
        assert row.words().count("Bar_None") == row.walk.bar + 1


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        (Controls(programs=(0,), pitch_range=(60, 60), pitch_classes=frozenset({1})), "no pitch is left to play"),
        (Controls(programs=(128,)), "no pitch is left to play"),
        (Controls(grid=0.01), "rhythm_grid=0.01: this model's tokens divide a quarter note into 24"),
        (Controls(grid=0.3), "rhythm_grid=0.3"),
    ],
)
def test_controls_that_leave_nothing_are_refused(controls, message):
    with pytest.raises(UserError, match=message) as error:
        walk_maker(tokenizer_of("remi_plus"), controls)
    assert "\n" not in str(error.value)


def test_a_grid_is_refused_that_no_micro_timing_keeps():
    tokenizer = tokenizer_of("per_tok", "tokenizer.additional_params.num_microtiming_bins=29")
    with pytest.raises(UserError, match=r"rhythm_grid=0.5: every MicroTiming token .* leads off it"):
        walk_maker(tokenizer, Controls(grid=0.5))
