"""The manifest has one row for every file and says the same as the corpus."""

import hashlib
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from symusic import Note, Score, Tempo, TimeSignature, Track

from midifactory.music.corpora import CollectOptions, SourceFile, collect_files
from midifactory.music.manifest import SCHEMA, write_manifest
from midifactory.music.score import save_score


def two_part_tune(seed):
    """Twelve beats of a melody in thirds with drums, at 90 bpm in 3/4."""
    score = Score(480)
    score.tempos.append(Tempo(0, 90))
    score.time_signatures.append(TimeSignature(0, 3, 4))
    score.tracks.append(Track("piano", 5, False))
    score.tracks.append(Track("drums", 0, True))
    for beat, pitch in enumerate(np.random.default_rng(seed).integers(40, 80, 12).tolist()):
        score.tracks[0].notes.append(Note(beat * 480, 480, pitch, 64))
        score.tracks[0].notes.append(Note(beat * 480, 480, pitch + 4, 64))
    score.tracks[1].notes.append(Note(0, 480, 36, 64))
    return score


@pytest.fixture
def corpus(tmp_path):
    for index in range(5):
        save_score(two_part_tune(index), tmp_path / f"{index}.mid")
    save_score(two_part_tune(0), tmp_path / "copy.mid")
    (tmp_path / "bad.mid").write_bytes(b"no music")
    files = [
        SourceFile(path.stem, path, group="g" if path.stem in "12" else "", labels={"composer": "Änne"})
        for path in tmp_path.iterdir()
    ]
    return collect_files("corpus", files, CollectOptions(workers=0), progress=False)


def test_every_file_has_one_row_that_agrees_with_the_corpus(corpus, tmp_path):
    write_manifest(corpus.manifest(), tmp_path / "out" / "manifest.parquet")
    table = pq.read_table(tmp_path / "out" / "manifest.parquet")
    assert table.schema == SCHEMA
    rows = {row["id"]: row for row in table.to_pylist()}
    assert len(rows) == table.num_rows == 7
    for piece in corpus.pieces:
        row = rows[piece.id]
        assert (row["outcome"], row["split"], row["notes"]) == ("kept", piece.split, piece.notes)
        assert row["sha256"] == piece.sha256 == hashlib.sha256(piece.path.read_bytes()).hexdigest()
        assert row["group"] == (piece.group or None)
        assert row["seconds"] == pytest.approx(12 * 60 / 90, rel=1e-4)
        assert row["tempo_bpm"] == pytest.approx(90, rel=1e-4)
        assert (row["metre"], row["bars"], row["programs"]) == ("3/4", 4, [-1, 5])
        assert row["polyphony"] == pytest.approx(25 / 12)
        assert json.loads(row["labels"]) == {"composer": "Änne"}
    assert rows["1"]["group"] == rows["2"]["group"] == "g"
    assert rows["1"]["split"] == rows["2"]["split"]
    assert (rows["copy"]["outcome"], rows["copy"]["duplicate_of"], rows["copy"]["split"]) == ("duplicate", "0", None)
    assert rows["copy"]["content_hash"] == rows["0"]["content_hash"]
    assert (rows["bad"]["outcome"], rows["bad"]["reason_kind"]) == ("rejected", "unreadable")
    assert rows["bad"]["notes"] is None
    assert rows["bad"]["sha256"] == hashlib.sha256(b"no music").hexdigest()
