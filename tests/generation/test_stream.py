"""The notes of a stream against MidiTok's decoder, which reads the rows' ids when they are done."""

from itertools import islice, pairwise

import pytest

from generation.test_schemes import ALL, untrained_of
from midifactory.generation.engine import Engine, Row
from midifactory.generation.guide import Length, MusicGuide
from midifactory.generation.sampling import Sampling
from midifactory.generation.stream import stream
from midifactory.music.score import seconds_at
from midifactory.tokens.grid_walk import walk_maker
from midifactory.tokens.walk import Controls


def rows_of(name: str, lengths: list[Length]) -> tuple[Engine, list[Row]]:
    model = untrained_of(name)
    # Of so few pitches even a model that knows nothing must end some before it begins others.
    controls = Controls(programs=(0,), pitch_range=(60, 64)) if name == "midi_like" else Controls()
    start, bos = (
        walk_maker(model.tokenizer, controls),
        model.tokenizer.bos_id,
    )
    rows = []
    for number, length in enumerate(lengths):
        walk = start()
        walk.step(bos)
        rows.append(Row([bos], MusicGuide(walk, length), Sampling(2.0), (5, number)))
    return Engine(model.model, model.window), rows


def told(notes, row: int) -> list:
    return sorted(
        (n.program, n.pitch, n.velocity, round(n.onset_beats, 6), round(n.duration_beats, 6))
        for n in notes
        if n.row == row
    )


@pytest.mark.parametrize("at_once", [None, 2])
@pytest.mark.parametrize("name", ALL)
def test_the_streamed_notes_are_those_that_miditok_decodes(name, at_once):
    lengths = [Length(tokens=count) for count in ((4000, 5000, 60) if name == "midi_like" else (150, 400, 60))]
    engine, rows = rows_of(name, lengths)
    notes = list(stream(engine, rows, at_once))
    tokenizer = untrained_of(name).tokenizer
    for number, row in enumerate(rows):
        # Notes that still sound in MIDI-like tokens are ended by the decoder of the project alone.
        score = tokenizer.miditok.decode([i for i in tokenizer.to_base_ids(row.new).tolist() if i != tokenizer.eos_id])
        quarter = score.ticks_per_quarter
        expected = sorted(
            (-1 if track.is_drum else track.program, note.pitch, note.velocity,
             round(note.time / quarter, 6), round(note.duration / quarter, 6))
            for track in score.tracks
            for note in track.notes
        )  # fmt: skip
        assert told(notes, number) == expected
        assert len(expected) > 2 or number == 2


@pytest.mark.parametrize("name", ["remi", "tsd", "structured", "bpe"])
def test_onsets_never_run_back_and_seconds_are_the_scores(name):
    engine, rows = rows_of(name, [Length(bars=6)])
    notes = list(stream(engine, rows))
    assert all(a.onset_beats <= b.onset_beats for a, b in pairwise(notes))
    score = untrained_of(name).tokenizer.decode(rows[0].new)
    ticks = [round(note.onset_beats * score.ticks_per_quarter) for note in notes]
    assert [note.onset_seconds for note in notes] == pytest.approx(seconds_at(score, ticks).tolist(), rel=1e-4)


def test_a_listener_may_leave_at_any_time_and_gets_notes_before_the_row_has_ended():
    engine, rows = rows_of("tsd", [Length(tokens=100_000)])
    first = list(islice(stream(engine, rows), 5))
    assert len(first) == 5
    assert len(rows[0].new) < 500
