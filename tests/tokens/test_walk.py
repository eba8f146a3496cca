"""Random lawful rows of every tokenizer: oracles are MidiTok's decoder, encoder and count of errors, and `strolls`."""

from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from strolls import KINDS, Stroll, grammar_of, groups_of, notes_of, words_of

from midifactory.music.score import bar_starts, seconds_at
from midifactory.tokens.walk import Bounds, Controls, Walk, _Aims
from schemes import SAYS, SCORES, learnt, tokenizer_of

SEEDS = range(3)
every_kind = pytest.mark.parametrize(("name", "pairs"), KINDS)


@cache
def rows(name, pairs):
    """Free rows, each with everything in it."""
    weights = {"TimeSig": 20.0} if name in {"tsd", "midi_like"} else {}  # which stand only right at a bar line there
    return [Stroll(grammar_of(name, pairs), seed=seed, weights=weights) for seed in SEEDS]


@every_kind
def test_a_lawful_row_never_dead_ends_and_holds_everything(name, pairs):
    found = set().union(*(row.types() for row in rows(name, pairs)))
    assert found == set(grammar_of(name, pairs).tokenizer.types) - {"PAD", "BOS", "EOS"}
    assert all(len(row.notes) > 10 for row in rows(name, pairs))


@every_kind
def test_the_decoded_notes_are_the_complete_note_groups(name, pairs):
    for row in rows(name, pairs):
        assert row.told() == row.notes
        heard = Counter((program, pitch, velocity) for program, _, pitch, _, velocity in row.notes)
        assert heard == groups_of(row.tokenizer, row.ids)


@every_kind
def test_encoding_what_was_decoded_keeps_every_note(name, pairs):
    for row in rows(name, pairs):
        encoded = row.tokenizer.encode(row.tokenizer.decode(row.ids)).ids
        assert notes_of(row.tokenizer, row.tokenizer.to_model_ids(encoded)) == row.notes


@every_kind
def test_miditok_counts_no_error(name, pairs):
    """PerTok's count is always 0. In MMM it takes the first Bar of every track for one, in real music too."""
    for row in rows(name, pairs):
        words = row.words()
        errors = row.tokenizer.miditok.tokens_errors(words) * len(words)
        assert round(errors) == words.count("Track_Start")


def test_miditok_counts_mmms_tracks_as_errors_in_real_music():
    tokenizer = tokenizer_of("mmm")
    words = [f"{type_}_{value}" for type_, value in words_of(tokenizer, tokenizer.encode(SCORES["four_voices"]()).ids)]
    assert round(tokenizer.miditok.tokens_errors(words) * len(words)) == words.count("Track_Start") == 4


@every_kind
def test_onsets_never_run_back(name, pairs):
    """What decoding finds more after each id that finishes or strikes notes is no earlier than what it found before."""
    row = rows(name, pairs)[0]
    slack = 2 * max(grammar_of(name, pairs).shifts)  # PerTok's micro timing
    onset, before = 0, Counter()
    tokenizer = row.tokenizer
    for index, id_ in enumerate(row.ids):
        types = {tokenizer.types[token] for token in row.grammar.parts[id_]}
        if "Track" in types:
            onset = 0
        if not types & {"Duration", "Velocity"}:
            continue
        now = Counter(note[:3] for note in notes_of(tokenizer, row.ids[: index + 1]))
        new = [note[1] for note in now - before]
        assert all(tick >= onset - slack for tick in new)
        onset, before = max([onset, *new]), now


@every_kind
def test_no_pitch_is_struck_while_it_sounds(name, pairs):
    for row in rows(name, pairs):
        for track in row.tokenizer.decode(row.ids).tracks:
            until = {}
            for note in sorted(track.notes, key=lambda note: note.time):
                assert note.time >= until.get(note.pitch, 0)
                until[note.pitch] = note.end


@every_kind
def test_metres_change_at_bar_lines_only(name, pairs):
    changes = 0
    for row in rows(name, pairs):
        decoded = row.tokenizer.decode(row.ids)
        for before, after in pairwise(decoded.time_signatures):
            bar = decoded.ticks_per_quarter * 4 * before.numerator // before.denominator
            assert (after.time - before.time) % bar == 0
            changes += 1
    assert changes or not SAYS[name][1] or name == "mmm"  # whose later tracks repeat the metres of the first one


@every_kind
def test_the_walk_stands_where_the_decoded_score_does(name, pairs):
    for row in rows(name, pairs):
        decoded = row.tokenizer.decode(row.ids)
        _, bars, ticks, bar_ticks, seconds = map(np.array, zip(*row.at_notes, strict=True))
        starts = bar_starts(decoded, int(ticks.max()) + 1)
        found = np.searchsorted(starts, ticks, side="right") - 1
        assert found.tolist() == bars.tolist()
        assert starts[found].tolist() == bar_ticks.tolist()
        if row.tokenizer.monotonic:  # MMM's tempos stand in every track
            np.testing.assert_allclose(seconds, seconds_at(decoded, ticks), rtol=1e-5)


@every_kind
def test_the_walk_knows_what_sounds(name, pairs):
    for row in rows(name, pairs):
        tick = row.walk.tick
        if row.tokenizer.monotonic:
            heard = {
                (program, pitch) for program, onset, pitch, length, _ in row.notes if onset <= tick < onset + length
            }
            keys = {(program, pitch) for program, _, pitch, _, _ in row.notes}
            assert {key for key in keys if row.walk.sounds(*key)} >= heard


@every_kind
@pytest.mark.parametrize(
    ("controls", "aims"),
    [
        (Controls(), {}),
        (Controls(every_bar=True), {"end_bar": 9, "keeps_bar_lines": True}),
        (Controls(grid=0.5, metre="3/4"), {"end_bar": 9}),
        (Controls(), {"end_tick": 900, "not_before": 20}),
    ],
)
def test_what_was_worked_out_before_is_what_would_be_now(name, pairs, controls, aims):
    """Rows go the same ways again and again; `allowed` looks up what it said there."""
    grammar = grammar_of(name, pairs)
    if name == "mmm" and controls.grid:
        controls = Controls(metre="3/4")
    bounds, without, known = Bounds(grammar, controls), Bounds(grammar, controls), 0
    for seed in range(3):
        generator, walk = np.random.default_rng(seed), Walk(grammar, bounds)
        for aim, value in aims.items():
            setattr(walk, aim, value)
        walk.step(grammar.tokenizer.bos_id)
        for _ in range(120):
            mask = walk.allowed()
            table = bounds.table(walk.context, walk.place.program)
            known += bool(table.masks)
            forgetful, every = walk.copy(), controls.every_bar
            forgetful.bounds, table = without, without.table(walk.context, walk.place.program)
            table.landings.clear()
            aimed = _Aims(every, every, walk.end_bar, walk.keeps_bar_lines, walk.end_tick)
            np.testing.assert_array_equal(mask, forgetful._worked_out_mask(table, aimed))
            walk.step(int(generator.choice(np.flatnonzero(mask))))
            if walk.context == "EOS" or (walk.end_bar is not None and walk.bar >= walk.end_bar):
                break
    assert known or name not in {"remi", "remi_plus", "tsd"} or controls.grid or "end_tick" in aims


@every_kind
def test_a_look_ahead_finds_where_a_step_leads(name, pairs):
    grammar, generator = grammar_of(name, pairs), np.random.default_rng(0)
    walk = Walk(grammar)
    for id_ in rows(name, pairs)[0].ids[1:150]:
        mask, (bars, ticks) = walk.allowed().copy(), walk.landings()
        for other in generator.choice(np.flatnonzero(mask), 3):
            copy = walk.copy()
            copy.step(int(other))
            assert walk.after(int(other)) == (copy.bar, copy.tick)
            if not walk.tokenizer.tokens[grammar.parts[other][0]].startswith("Track"):
                assert (bars[other], ticks[other]) == (copy.bar, copy.tick)
        np.testing.assert_array_equal(walk.allowed(), mask)  # a copy leaves it as it is
        walk.step(id_)


@pytest.mark.parametrize("name", SAYS)
def test_an_id_of_byte_pairs_is_lawful_only_if_its_tokens_are_one_by_one(name):
    for controls in (Controls(), Controls(programs=(0, 33), pitch_range=(60, 62), every_bar=True, grid=0.5)):
        bounds = Bounds(grammar_of(name), controls)
        row, walk = Stroll(grammar_of(name, True), controls), Walk(bounds.grammar, bounds)
        for token in learnt(name).to_base_ids(row.ids[1:]):
            assert walk.allowed()[token]
            walk.step(int(token))


@pytest.mark.parametrize("name", ["remi_plus", "tsd", "midi_like", "per_tok"])
def test_a_program_does_not_go_round_in_chords(name):
    """A row that would rather say chords than anything else cannot stay in one place for ever."""
    row = Stroll(grammar_of(name), Controls(programs=(0, 40, -1)), weights={"Chord": 1000.0}, steps=200)
    walk, found = Walk(row.grammar), Counter()
    for token in row.ids[1:]:
        walk.step(token)
        if row.tokenizer.types[token] == "Chord":
            found[walk.tick, walk.place.program] += 1
    assert found.total() > 10
    assert max(found.values()) == 2


def test_a_track_of_mmm_ends_with_a_note_in_it():
    words = rows("mmm", False)[0].words()
    assert words.count("Track_End") > 0
    tracks = " ".join(words).split("Track_Start")[1:]
    assert all("Duration" in track for track in tracks if "Track_End" in track)
