"""Two sets of made-up music compared: what stands in the record, the same twice, and what a set may lack."""

import json

import numpy as np
import pytest
from symusic import Note, Score, TimeSignature, Track

from midifactory.evaluation.harmony_model import ChordModel
from midifactory.evaluation.metrics import STATISTICS, measure
from midifactory.evaluation.samples import CURVES, FRECHET, compare_sets, table_lines
from midifactory.music.originality import Copy, Report


def tune(seed, bars=6, low=60, program=0):
    """Quarters and eighths of a major scale over held fifths."""
    generator, track = np.random.default_rng(seed), Track("", max(0, program), program < 0)
    for bar in range(bars):
        track.notes.append(Note(bar * 48, 48, low - 24, 70))
        for beat in range(4):
            for eighth in range(1 + int(generator.integers(2))):
                pitch = low + int(generator.choice((0, 2, 4, 5, 7, 9, 11)))
                track.notes.append(Note(bar * 48 + beat * 12 + 6 * eighth, 6, pitch, 80))
    score = Score(12)
    score.tracks.append(track)
    score.time_signatures.append(TimeSignature(0, 4, 4))
    return score


def copied(beats, share):
    copy = Copy(8, beats, "a.mid", 1, 1)
    return Report(40, copy, copy, beats, beats, share, share, "a.mid", share)


@pytest.fixture(scope="module")
def sets():
    samples = [measure(tune(seed, low=61)) for seed in range(7)]
    corpus = [measure(tune(seed)) for seed in range(10, 20)]
    return samples, corpus, ChordModel([measure(tune(seed)).chords for seed in range(20, 25)])


def test_the_record_is_whole_and_json_can_say_it(sets):
    samples, corpus, model = sets
    generator = np.random.default_rng(0)
    copies = [copied(4.0, 0.5)] * 7, [copied(2.0, 0.25)] * 10
    embeddings = generator.normal(size=(7, 12)), generator.normal(size=(10, 12))
    found = compare_sets(samples, corpus, model, 3, copies, embeddings)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["compared_pieces"] == 5, "as many as half of the corpus"
    further = {"chord_perplexity", "longest_copy_beats", "copied_ngrams_share", "shared_ngrams_share"}
    assert set(found["metrics"]) == {*CURVES, *STATISTICS, *further, "pairwise_distance", FRECHET}
    for name, row in found["metrics"].items():
        assert row["source"], name
        for part in ("distance", "ceiling"):
            assert row[part]["low"] <= row[part]["value"] <= row[part]["high"], (name, part)
        if row["kind"] == "distance":
            assert row["corpus"] is None
            assert row["value"] == row["distance"]["value"]
        else:
            known = [piece[name] for piece in found["pieces"] if piece[name] is not None]
            assert row["value"] == pytest.approx(np.mean(known))
            assert row["better"] == "near corpus"
    assert found["metrics"]["longest_copy_beats"]["value"] == 4
    assert found["metrics"]["longest_copy_beats"]["corpus"]["value"] == 2
    assert found["metrics"]["longest_copy_beats"]["distance"]["value"] == pytest.approx(2)
    assert (len(found["pieces"]), len(found["corpus_pieces"])) == (7, 10)
    for name, curve in found["curves"].items():
        assert len(curve["places"]) == len(curve["samples"]) == len(curve["corpus"]), name
    # A semitone higher: other pitch classes, the same degrees.
    assert found["metrics"]["pitch_classes"]["value"] > 0.5 > found["metrics"]["pitch_classes_in_key"]["value"]
    lines = table_lines(found["metrics"])
    assert len(lines) == 1 + len(found["metrics"])
    assert max(map(len, lines)) <= 130


def test_the_same_seed_gives_the_same_and_another_one_other_splits(sets):
    samples, corpus, model = sets
    first = compare_sets(samples, corpus, model, 3)
    assert compare_sets(samples, corpus, model, 3) == first
    other = compare_sets(samples, corpus, model, 4)
    assert other["pieces"] != first["pieces"] or other["metrics"] != first["metrics"]
    assert other["metrics"]["durations"]["ceiling"] != first["metrics"]["durations"]["ceiling"]
    assert FRECHET not in first["metrics"]
    assert "longest_copy_beats" not in first["metrics"], "nobody knows the training set"


def test_sets_of_one_piece_and_of_drums_lack_figures_and_say_so(sets):
    samples, corpus, model = sets
    one = compare_sets(samples[:1], corpus[:1], model)
    json.dumps(one, allow_nan=False)
    assert one["metrics"]["durations"]["value"] is None
    assert one["metrics"]["notes_per_beat"]["value"] > 0
    assert one["metrics"]["notes_per_beat"]["low"] is None
    drums = [measure(tune(seed, program=-1)) for seed in range(4)]
    found = compare_sets(drums, drums, model)
    json.dumps(found, allow_nan=False)
    assert found["metrics"]["pitch_intervals"]["value"] is None
    assert found["metrics"]["onset_intervals"]["value"] is not None
    assert "scale_consistency" not in found["metrics"]
    assert "-" in "\n".join(table_lines(found["metrics"]))
