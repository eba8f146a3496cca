"""An untrained model proposes anything: what it fills is lawful, in the region, and nothing else of the Score moves."""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from symusic import ControlChange, Note, Pedal, Score, Tempo, TextMeta

from midifactory.errors import UserError
from midifactory.generation.infill import Infiller, Region, bar_lines, known_programs, read_as
from midifactory.generation.sampling import Sampling
from midifactory.models.transformer import Transformer
from midifactory.tokens.tokenizer import Tokenizer
from schemes import DRUMS, MORE, everything, make_score, tokenizer_of, training_ids

WILD = Sampling(temperature=2.0)
WINDOW = 512
PROGRAMS = (0, 33, 40, 41, 42, 43)
PROFILE: dict[str, Any] = {
    "programs": [
        {"program": p, "share": 0.1, "lowest": m - 8, "middle": m, "highest": m + 8}
        for p, m in zip((*PROGRAMS, DRUMS), (60, 38, 70, 64, 58, 48, 40), strict=True)
    ]
}


@dataclass
class Model:
    model: Any
    tokenizer: Tokenizer
    window: int
    profile: dict[str, Any]


@cache
def model_of(name: str = "remi_plus", window: int = WINDOW, places: bool = True) -> Model:
    if name == "byte_pairs":
        size = tokenizer_of("remi_plus").with_infill().base_vocab_size + MORE
        tokenizer = tokenizer_of("remi_plus", f"tokenizer.vocab_size={size}").with_infill()
        tokenizer = tokenizer.learn_bpe(training_ids(tokenizer))
    elif name == "bare":
        more = ("tokenizer.use_rests=false", "tokenizer.use_velocities=false", "tokenizer.use_chords=false")
        tokenizer = tokenizer_of("remi_plus", *more).with_infill()
    else:
        tokenizer = tokenizer_of(name).with_infill()
    torch.manual_seed(0)
    reader = tokenizer.places() if places else None
    model = Transformer(tokenizer.vocab_size, d_model=16, heads=2, layers=1, context=window, places=reader)
    return Model(model.eval(), tokenizer, window, PROFILE)


def band() -> Score:
    """Two pianos, a bass and drums in four bars; pedals, tempo changes, a marker and notes over bar lines."""
    right = [(beat / 2, 0.5, 67 + beat * 5 % 12, 80) for beat in range(32)] + [(7.5, 3, 60, 70)]
    left = [(2 * i, 2.5 if i < 7 else 2, 48 + i % 5, 64) for i in range(8)]
    bass = [(beat, 1, 36 + beat % 4, 75) for beat in range(16)]
    kit = [(half / 2, 0.25, 42 if half % 2 else 36, 80) for half in range(32)]
    score = make_score([(0, right), (0, left), (33, bass), (DRUMS, kit)], tempos=((0, 100), (5, 120), (10.5, 77.7)))
    for index, track in enumerate(score.tracks):
        track.name = ("Right", "Left", "Bass", "Kit")[index]
        track.pedals.append(Pedal(960 * index, 2000))
        track.controls.append(ControlChange(4000, 7, 90 + index))
    score.markers.append(TextMeta(3840, "B"))
    return score


def outside(score: Score, tracks=(), start: int = 0, end: int = 0) -> list:
    """Every event, but the notes of `tracks` that begin from `start` on and before `end`."""
    found: list = [score.ticks_per_quarter]
    found += [[repr(i) for i in getattr(score, n)] for n in ("tempos", "time_signatures", "key_signatures", "markers")]
    for index, track in enumerate(score.tracks):
        notes = [
            (note.time, note.duration, note.pitch, note.velocity)
            for note in track.notes
            if index not in tracks or not start <= note.time < end
        ]
        controls = [[repr(i) for i in getattr(track, n)] for n in ("pedals", "controls", "pitch_bends", "lyrics")]
        found.append((track.name, track.program, track.is_drum, notes, controls))
    return found


def inside(score: Score, tracks, start: int, end: int) -> list[tuple[int, Note]]:
    return [(i, note) for i in tracks for note in score.tracks[i].notes if start <= note.time < end]


def programs_of(score: Score) -> list[int]:
    return [DRUMS if track.is_drum else track.program for track in score.tracks]


@pytest.mark.parametrize(
    ("name", "bars", "tracks"),
    [
        ("remi_plus", (2, 4), (0, 1, 2, 3)),
        ("remi_plus", (1, 3), (2,)),
        ("remi_plus", (0, 4), (1,)),
        ("remi_plus", (3, 4), (3,)),
        ("bare", (0, 4), (0, 2, 3)),
        ("bare", (1, 2), (0,)),
        ("byte_pairs", (0, 1), (0, 2)),
        ("byte_pairs", (1, 3), (0, 1, 2, 3)),
        ("byte_pairs", (0, 4), (0,)),
        ("remi", (1, 4), (0, 3)),
    ],
)
def test_only_the_region_changes_and_what_comes_is_lawful(name, bars, tracks):
    score = band()
    before = outside(score)
    lines = bar_lines(score)
    start, end = int(lines[bars[0]]), int(lines[bars[1]])
    for filled in Infiller(model_of(name)).fill(
        score, Region(*bars, tracks), WILD, samples=2 if name == "remi" else 1, seed=5
    ):
        assert outside(score) == before, "the source is not touched"
        assert (filled.start_tick, filled.end_tick) == (start, end)
        assert outside(filled.score, tracks, start, end) == outside(score, tracks, start, end)
        new = inside(filled.score, tracks, start, end)
        assert len(new) == filled.notes == sum(filled.notes_per_bar) > 0
        assert all(note.time + note.duration <= end and note.duration > 0 for _, note in new)
        assert all(filled.notes_per_bar), "a bar with notes gets notes"
        # On one instrument no pitch begins while it sounds, be it of a track that was not asked for.
        programs = programs_of(score)
        old = [
            (programs[i], note)
            for i, track in enumerate(score.tracks)
            for note in track.notes
            if i not in tracks or not start <= note.time < end
        ]
        fresh = [(programs[i], note) for i, note in new]
        for place, (program, note) in enumerate(fresh):
            for other, one in (*old, *fresh[:place]):
                if (program, note.pitch) == (other, one.pitch):
                    assert note.time + note.duration <= one.time or one.time + one.duration <= note.time


def test_the_same_seed_gives_the_same_music_and_another_another():
    made = [Infiller(model_of()).fill(band(), Region(2, 3, (0,)), WILD, samples=2, seed=seed) for seed in (1, 1, 2)]
    one, again, other = ([filled.score.dumps_midi() for filled in run] for run in made)
    assert one == again != other
    assert len(set(one)) == 2
    # A sample is the same however many are made with it.
    alone = Infiller(model_of()).fill(band(), Region(2, 3, (0,)), WILD, samples=1, seed=1)
    assert alone[0].score.dumps_midi() == one[0]


@pytest.mark.parametrize("places", [True, False])
def test_a_region_longer_than_the_window_is_filled_in_rounds(places):
    """Two copies of the piece need several rounds in a window of 192 tokens; no bar of the track is skipped."""
    score, copy = band(), band()
    for track, more in zip(score.tracks, copy.tracks, strict=True):
        for note in more.notes:
            track.notes.append(Note(note.time + 4 * 1920, note.duration, note.pitch, note.velocity))
    (filled,) = Infiller(model_of("bare", 192, places)).fill(score, Region(0, 8, (2,)), WILD, seed=0)
    assert len(filled.notes_per_bar) == 8
    assert all(filled.notes_per_bar)
    assert outside(filled.score, (2,), 0, 10**9) == outside(score, (2,), 0, 10**9)


def test_new_notes_stand_where_the_bars_of_another_metre_are():
    score = everything()  # 4/4, from bar 6 on 3/4, then 6/8
    lines = bar_lines(score)
    assert lines.tolist() == [0, 1920, 3840, 5760, 7680, 9600, 11040, 12480]
    for tracks, bars in (((0,), (5, 6)), ((0, 1, 2, 3), (3, 6)), ((2,), (0, 7))):
        (filled,) = Infiller(model_of()).fill(score, Region(*bars, tracks), WILD, seed=3)
        new = inside(filled.score, tracks, int(lines[bars[0]]), int(lines[bars[1]]))
        assert len(new) == filled.notes > 0
        assert outside(filled.score, tracks, lines[bars[0]], lines[bars[1]]) == outside(
            score, tracks, lines[bars[0]], lines[bars[1]]
        )


def test_a_new_track_comes_behind_the_others_and_nothing_else_moves():
    score = band()
    (filled,) = Infiller(model_of()).fill(score, Region(0, 4, new=(42,)), WILD, seed=2)
    assert outside(filled.score)[:-1] == outside(score)
    track = filled.score.tracks[4]
    assert (track.name, track.program, track.is_drum) == ("Cello", 42, False)
    assert len(track.notes) == filled.notes > 0
    (drums,) = Infiller(model_of()).fill(make_score([(0, [(i, 1, 60 + i % 5, 80) for i in range(16)])]),
                                         Region(0, 4, new=(DRUMS, 43)), WILD)  # fmt: skip
    assert programs_of(drums.score)[0] == 0
    assert sorted(programs_of(drums.score)[1:]) == [DRUMS, 43]


def test_pitches_keep_to_the_range_asked():
    region = Region(0, 4, (0,))
    (filled,) = Infiller(model_of()).fill(band(), region, WILD, pitch_range=(70, 75), program_ranges={})
    assert {note.pitch for _, note in inside(filled.score, (0,), 0, 4 * 1920)} <= set(range(70, 76))


def test_tracks_that_the_model_never_met_are_read_as_others():
    heights = (79, 67, 60, 50)
    choir = make_score([(52, [(beat, 1, height, 80) for beat in range(8)]) for height in heights])
    assert read_as(choir, PROFILE) == [40, 41, 0, 43]
    strings = {"programs": [row for row in PROFILE["programs"] if row["program"] >= 40]}
    assert read_as(choir, strings) == [40, 41, 42, 43]
    assert read_as(make_score([(48, [(0, 1, 40, 80)])]), strings) == [43]
    assert read_as(make_score([(44, [(0, 1, 50, 80)]), (DRUMS, [(0, 1, 40, 80)])]), strings) == [43, DRUMS]
    assert known_programs(strings) == {40: 70, 41: 64, 42: 58, 43: 48}
    (filled,) = Infiller(model_of()).fill(choir, Region(0, 2, (1,)), WILD, programs=[40, 41, 42, 43])
    assert outside(filled.score, (1,), 0, 10**6) == outside(choir, (1,), 0, 10**6)
    assert Counter(programs_of(filled.score)) == {52: 4}


@pytest.mark.parametrize(
    ("score", "region", "message"),
    [
        (band, Region(3, 5, (0,)), "bars=4-5: the file has bars 1 to 4"),
        (band, Region(0, 4, (0, 1, 2, 3)), "nothing is left around this region"),
        (lambda: make_score([(0, [(i, 1, 60, 80) for i in range(22)])], metres=((0, 11, 4),)), Region(0, 1, (0,)),
         "bar 1 has 11 quarter notes, which this model's tokens cannot tell"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(score, region, message):
    with pytest.raises(UserError, match=message):
        Infiller(model_of()).fill(score(), region, WILD)


def test_a_model_without_the_tokens_is_refused_with_how_to_train_one():
    plain = tokenizer_of("remi_plus")
    model = Transformer(plain.vocab_size, d_model=16, heads=2, layers=1, context=64)
    with pytest.raises(
        UserError, match=r"it was not trained for infilling; take checkpoint=box, or train one with data.infill=0.5"
    ):
        Infiller(Model(model, plain, 64, PROFILE), "run/best.ckpt")


def test_tempos_of_the_file_stay_though_tokens_know_only_steps():
    score = band()
    (filled,) = Infiller(model_of()).fill(score, Region(1, 3, (1, 2)), WILD)
    assert [(tempo.time, tempo.mspq) for tempo in filled.score.tempos] == [(t.time, t.mspq) for t in score.tempos]
    assert isinstance(filled.score.tempos[0], Tempo)
