"""Music spoilt in five ways: each way is told, as the worst of all, by the metric that was made for it."""

import numpy as np
import pytest
from symusic import Note, Score

from midifactory.evaluation.harmony_model import ChordModel
from midifactory.evaluation.metrics import measure
from midifactory.evaluation.samples import compare_sets
from midifactory.music.bach_chorales import BachChorales
from midifactory.music.joining import bar_lines, span
from midifactory.music.originality import Originality, OriginalityIndex, build_index
from midifactory.music.score import bar_starts, first_bars, load_score

MADE_FOR = {
    "shuffled notes": ("pitch_intervals", "chord_tone_share"),
    "wrong scale": ("pitch_classes_in_key", "scale_consistency"),
    "copies": ("longest_copy_beats", "copied_ngrams_share"),
    "constant rhythm": ("onset_intervals", "durations"),
    "one bar": ("repetition",),
}


def with_notes(score, change):
    """A Score whose notes (track, note) are what `change` makes of the list of all of them."""
    made = score.copy()
    notes = [(index, note) for index, track in enumerate(score.tracks) for note in track.notes]
    changed = change(notes)
    for index, track in enumerate(made.tracks):
        track.notes = type(track.notes)([note for place, note in changed if place == index])
    return made


def shuffled(score, generator):
    """The same onsets and durations; the pitches of the piece dealt out anew."""

    def change(notes):
        pitches = generator.permutation([note.pitch for _, note in notes]).tolist()
        rows = zip(notes, pitches, strict=True)
        return [(index, Note(note.time, note.duration, pitch, note.velocity)) for (index, note), pitch in rows]

    return with_notes(score, change)


def wrong_scale(score, _):
    """Every note moved onto the whole-tone scale, by a semitone at most."""
    return with_notes(
        score, lambda notes: [(i, Note(n.time, n.duration, n.pitch - n.pitch % 2, n.velocity)) for i, n in notes]
    )


def constant_rhythm(score, _):
    """Every voice one quarter after another."""

    def change(notes):
        counts, quarter, changed = {}, score.ticks_per_quarter, []
        for index, note in sorted(notes, key=lambda pair: pair[1].time):
            place = counts[index] = counts.get(index, -1) + 1
            changed.append((index, Note(place * quarter, quarter, note.pitch, note.velocity)))
        return changed

    return with_notes(score, change)


def one_bar(score, _):
    """The second bar, over and over."""
    lines = bar_lines(score)
    bar, length = span(score, int(lines[1]), int(lines[2])), int(lines[2] - lines[1])

    def change(_):
        return [
            (index, Note(begin * length + note.time, note.duration, note.pitch, note.velocity))
            for begin in range(len(lines) - 1)
            for index, track in enumerate(bar.tracks)
            for note in track.notes
        ]

    return with_notes(score, change)


def halves(score: Score) -> list[Score]:
    """Two pieces of one, at a bar line."""
    starts = bar_starts(score)
    middle = len(starts) // 2
    return [first_bars(score, middle), span(score, int(starts[middle]), int(score.end()) + 1)]


def read_chorales(root, limit):
    """(id, Score) of the halves of the first chorales of music21."""
    corpus = BachChorales(root, limit=limit, workers=0).collect(progress=False)
    return [
        (f"{piece.id}.{part}", half)
        for piece in corpus.pieces
        for part, half in enumerate(halves(load_score(piece.path)))
    ]


@pytest.fixture(scope="module")
def chorales(tmp_path_factory):
    return read_chorales(tmp_path_factory.mktemp("bach"), 18)


@pytest.fixture(scope="module")
def spoilt(chorales, tmp_path_factory):
    """For each way, and for music that was left alone, what is found of it."""
    generator, folder = np.random.default_rng(0), tmp_path_factory.mktemp("index") / "index"
    training, rest = chorales[:10], [score for _, score in chorales[10:]]
    build_index(folder, training)
    index = Originality([OriginalityIndex(folder)])
    held_out, good = rest[:12], rest[12:22]
    sets = {
        "unspoilt": good,
        "shuffled notes": [shuffled(score, generator) for score in good],
        "wrong scale": [wrong_scale(score, generator) for score in good],
        "copies": [score for _, score in training],
        "constant rhythm": [constant_rhythm(score, generator) for score in good],
        "one bar": [one_bar(score, generator) for score in good],
    }
    measured = {name: [measure(score) for score in scores] for name, scores in sets.items()}
    corpus = [measure(score) for score in held_out]
    model = ChordModel([measure(score).chords for _, score in training])
    known = [index.of(score) for score in held_out]
    return {
        name: compare_sets(measured[name], corpus, model, 0, ([index.of(score) for score in sets[name]], known))
        for name in sets
    }


@pytest.mark.parametrize("fault", MADE_FOR)
def test_a_fault_is_the_worst_by_what_was_made_for_it(spoilt, fault):
    for metric in MADE_FOR[fault]:
        apart = {name: found["metrics"][metric]["distance"]["value"] for name, found in spoilt.items()}
        assert max(apart, key=apart.get) == fault, (metric, apart)
        ceiling = spoilt[fault]["metrics"][metric]["ceiling"]["high"]
        assert apart[fault] > ceiling, (metric, apart, ceiling)


def test_music_left_alone_is_about_as_near_as_a_half_to_the_other(spoilt):
    for name, row in spoilt["unspoilt"]["metrics"].items():
        assert row["distance"]["low"] <= row["ceiling"]["high"], (name, row)
