"""Copies that were planted are found at their length, and what a naive search finds is found, no more and no less."""

import json

import numpy as np
import pytest

from midifactory.music.originality import NGRAM, NoteLine, Originality, OriginalityIndex, build_index
from schemes import DRUMS, make_score

STEPS = (0.25, 0.5, 0.75, 1.0)


def random_notes(seed, count, pitches=(40, 80), start=0.0):
    """(onset, duration, pitch, velocity) of one note after the other, rhythm and pitches at random."""
    generator = np.random.default_rng(seed)
    onset = start + np.cumsum(generator.choice(STEPS, count))
    return [(float(o), 0.5, int(p), 80) for o, p in zip(onset, generator.integers(*pitches, count), strict=True)]


def moved(notes, beats, semitones=0):
    """The notes later by so many beats, and transposed."""
    return [(onset + beats, duration, pitch + semitones, velocity) for onset, duration, pitch, velocity in notes]


def planted(training, first, count, semitones=0, before=40, after=40):
    """Random music with notes first..first+count of `training` in its middle, at other times and softer."""
    opening = random_notes(101, before)
    copy = moved(training[first : first + count], 1 + opening[-1][0] - training[first][0], semitones)
    ending = random_notes(102, after, start=copy[-1][0])
    return make_score([(0, opening + [(o, 0.25, p, 40) for o, _, p, _ in copy] + ending)])


@pytest.fixture(scope="module")
def corpus():
    """Twenty pieces of 300 random notes."""
    return {f"piece {number}": random_notes(number, 300) for number in range(20)}


@pytest.fixture(scope="module")
def originality(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "index"
    build_index(folder, ((name, make_score([(0, notes)])) for name, notes in corpus.items()))
    return Originality([OriginalityIndex(folder)])


@pytest.mark.parametrize("count", [9, 30, 200])
def test_a_planted_copy_is_found_at_its_length(corpus, originality, count):
    training = corpus["piece 7"]
    report = originality.of(planted(training, 50, count))
    beats = training[50 + count - 1][0] - training[50][0]
    assert report.exact == report.transposed
    # Chance may join a neighbour to it.
    assert count <= report.exact.notes <= count + 2
    assert report.exact.piece == report.nearest == "piece 7"
    assert beats <= report.exact.beats <= beats + 2
    assert report.exact_beats == report.exact.beats
    found = count - NGRAM + 1
    assert found <= report.ngrams * (80 + count - NGRAM + 1) <= found + 3
    assert report.exact.piece_bar == 1 + training[50][0] // 4
    assert report.exact.transposition == 0


@pytest.mark.parametrize("semitones", [5, -7])
def test_a_transposed_copy_is_no_exact_one(corpus, originality, semitones):
    report = originality.of(planted(corpus["piece 3"], 100, 40, semitones))
    assert 40 <= report.transposed.notes <= 42
    assert (report.transposed.piece, report.transposed.transposition) == ("piece 3", semitones)
    assert report.exact.notes < NGRAM
    assert report.ngrams == 0
    assert report.exact_beats == 0
    assert report.nearest == "piece 3"
    assert report.ngrams_transposed == report.nearest_share > 0.25
    assert "transposed 4" in report.line()
    assert "piece 3" in report.line()


def test_random_music_is_new(originality):
    report = originality.of(make_score([(0, random_notes(999, 400))]))
    assert report.exact.notes < NGRAM
    assert report.ngrams == report.ngrams_transposed == 0
    assert 0 < report.exact.notes <= report.transposed.notes <= 5
    assert report.nearest_share == 0


def test_a_training_piece_is_all_copied(corpus, originality):
    report = originality.of(make_score([(0, corpus["piece 11"])]))
    assert report.exact.notes == report.notes == 300
    assert report.ngrams == 1
    assert report.nearest == "piece 11"
    assert report.nearest_share == 1
    assert (report.exact.bar, report.exact.piece_bar) == (1 + int(corpus["piece 11"][0][0] // 4),) * 2


def test_notes_of_a_prompt_do_not_count(corpus, originality):
    score = make_score([(0, corpus["piece 5"][:150] + random_notes(77, 60, start=corpus["piece 5"][149][0]))])
    begin = round(corpus["piece 5"][149][0] * score.ticks_per_quarter) + 1
    assert originality.of(score).exact.notes >= 150
    report = originality.of(score, begin)
    assert report.notes == 60
    assert report.exact.notes < NGRAM


def naive(line, training, exact):
    """The notes of the longest copy, by dynamic programming over all pairs of notes."""
    best = 0
    for other in training:
        row = np.zeros(len(other.note) + 1, dtype=int)
        for i in range(len(line.note)):
            new = np.zeros_like(row)
            for j in range(len(other.note)):
                if exact and line.note[i] != other.note[j]:
                    continue
                goes_on = (
                    i and j and row[j]
                    and line.onset[i] - line.onset[i - 1] == other.onset[j] - other.onset[j - 1]
                    and line.note[i] - line.note[i - 1] == other.note[j] - other.note[j - 1]
                )  # fmt: skip
                new[j + 1] = row[j] + 1 if goes_on else 1
            row = new
            best = max(best, row.max())
    return best


@pytest.mark.parametrize("seed", range(12))
def test_longest_copies_are_those_of_dynamic_programming(seed, tmp_path):
    """Few pitches and chords, so that much is equal by chance and pieces repeat themselves."""
    generator = np.random.default_rng(seed)

    def piece():
        count = int(generator.integers(1, 60))
        onset = np.cumsum(generator.choice((0, 0.5, 1.0), count, p=(0.4, 0.4, 0.2)))
        return make_score([(0, [(float(o), 0.25, 60 + int(generator.integers(4)), 80) for o in onset])])

    pieces = [piece() for _ in range(5)]
    build_index(tmp_path / "index", ((str(number), score) for number, score in enumerate(pieces)))
    originality = Originality([OriginalityIndex(tmp_path / "index")])
    training = [NoteLine.of(score, False) for score in pieces]
    for _ in range(4):
        score = piece()
        line, report = NoteLine.of(score, False), originality.of(score)
        assert report.exact.notes == naive(line, training, True)
        assert report.transposed.notes == naive(line, training, False)
        windows = {
            (tuple(other.note[k : k + NGRAM]), tuple(np.diff(other.onset[k : k + NGRAM])))
            for other in training
            for k in range(len(other.note) - NGRAM + 1)
        }
        own = [
            (tuple(line.note[k : k + NGRAM]), tuple(np.diff(line.onset[k : k + NGRAM])))
            for k in range(len(line.note) - NGRAM + 1)
        ]
        assert report.ngrams == (np.mean([window in windows for window in own]) if own else 0)


def test_chords_other_voices_and_doublings_make_no_difference(tmp_path):
    """One line, whichever instruments play it and in which order their tracks stand."""
    high, low = random_notes(1, 60, (60, 80)), random_notes(2, 60, (30, 50))
    build_index(tmp_path / "index", [("duo", make_score([(0, high), (33, low)]))])
    copy = make_score([(40, low), (73, high), (41, low[:30])])
    report = Originality([OriginalityIndex(tmp_path / "index")]).of(copy)
    assert report.exact.notes == report.notes == 120


def test_drums_are_compared_where_there_is_nothing_else_and_never_transposed(tmp_path):
    beat = [(n / 2, 0.25, (36, 42, 38, 42)[n % 4], 90) for n in range(32)]
    build_index(tmp_path / "index", [("song", make_score([(0, random_notes(1, 40)), (DRUMS, beat)]))])
    originality = Originality([OriginalityIndex(tmp_path / "index")])
    assert originality.of(make_score([(DRUMS, beat)])).exact.notes == 32
    assert originality.of(make_score([(DRUMS, moved(beat, 0, 2))])).transposed.notes <= 1
    assert originality.of(make_score([(0, moved(beat, 0))])).transposed.notes < NGRAM  # a piano is no drum kit
    assert originality.of(make_score([(DRUMS, beat), (0, random_notes(5, 50))])).exact.notes < NGRAM


def test_two_indexes_are_one_training_set(tmp_path):
    first, second = random_notes(1, 100), random_notes(2, 100)
    build_index(tmp_path / "a", [("first", make_score([(0, first)]))])
    build_index(tmp_path / "b", [("second", make_score([(0, second)]))])
    both = Originality([OriginalityIndex(tmp_path / "a"), OriginalityIndex(tmp_path / "b")])
    report = both.of(make_score([(0, first[:60] + moved(second[:80], first[59][0]))]))
    assert report.exact.piece == report.nearest == "second"
    assert report.exact.notes >= 80
    assert report.ngrams > 0.85


def test_the_report_is_plain_json_and_a_line_of_text(originality, corpus):
    empty = originality.of(make_score([(0, [])]))
    assert empty.exact is None
    assert empty.line() == "originality: nothing to compare"
    report = originality.of(make_score([(0, corpus["piece 3"][:50])]))
    assert json.loads(json.dumps(report.to_dict()))["exact"]["notes"] == 50
    assert report.line().startswith("originality: longest copy 50 notes (")
    one = originality.of(make_score([(0, [(0, 1, 127, 80)])]))
    assert one.exact.notes == 0
    assert one.transposed.notes == 1
    assert one.line()


def test_what_follows_a_passage(originality, corpus):
    """All notes that come after it anywhere, in the key of the passage."""
    index = originality.indexes[0]
    line = NoteLine.of(make_score([(0, moved(corpus["piece 2"][20:29], 3, 2))]), False)
    ticks, notes = index.follows(line)
    after = corpus["piece 2"][29]
    assert (ticks / 480).tolist() == [after[0] - corpus["piece 2"][28][0]]
    assert notes.tolist() == [after[2] + 2]
    last = NoteLine.of(make_score([(0, corpus["piece 2"][-9:])]), False)
    assert [len(found) for found in index.follows(last)] == [0, 0]


def test_an_interrupted_build_leaves_nothing(tmp_path, corpus):
    def pieces():
        yield "a", make_score([(0, corpus["piece 1"])])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path / "index", pieces())
    assert not list(tmp_path.iterdir())


def test_an_index_of_another_format_is_refused(tmp_path, corpus):
    build_index(tmp_path / "index", [("a", make_score([(0, corpus["piece 1"])]))])
    (tmp_path / "index" / "index.json").write_text('{"format": 0, "pieces": []}')
    with pytest.raises(ValueError, match="format 0"):
        OriginalityIndex(tmp_path / "index")
