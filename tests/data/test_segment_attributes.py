"""What segments are told to be, against a naive loop over the notes that their tokens decode to."""

import numpy as np
import pytest

from midifactory.data.attributes import SegmentConditions, measure_segments
from midifactory.data.datamodule import MidiDataModule, Segmentation
from midifactory.errors import UserError
from midifactory.music.attributes import NAMES
from midifactory.music.corpora import Folder
from midifactory.music.score import save_score
from midifactory.music.statistics import key_estimate
from midifactory.tokens.augment import Augmentation, Augmenter
from midifactory.tokens.tokenizer import Tokenizer

TOLD = ("density", "polyphony", "mean_pitch", "note_length", "tempo_bpm", "bars", "metre", "key", "programs")
USED = ("use_programs", "one_token_stream_for_programs", "use_tempos", "use_time_signatures", "use_pitchdrum_tokens")


@pytest.fixture
def folder(tmp_path, score_from):
    """Twelve pieces of sixteen bars that differ from bar to bar: scales of other keys, lengths, tempos and programs."""
    root = tmp_path / "midi"
    root.mkdir()
    for index in range(12):
        draw = np.random.default_rng(index)
        scale = np.sort((index * 7 + np.array([0, 2, 4, 5, 7, 9, 11])) % 12)
        metre = 3 if index % 3 == 0 else 4
        notes, bass = [], []
        for bar in range(16):
            step = draw.choice([0.5, 1.0])
            for beat in np.arange(0, metre, step):
                length = draw.choice([0.5, 1.0]) * step
                notes.append((bar * metre + beat, length, 60 + int(draw.choice(scale)), 80))
            if draw.random() < 0.7:
                bass.append((bar * metre, metre, 36 + int(scale[bar % 7]), 64))
        drums = [(beat, 0.25, 36, 90) for beat in range(0, 16 * metre, 2)] if index % 4 == 0 else []
        tracks = [(0, notes), (33, bass), *([(-1, drums)] if drums else [])]
        tempos = ((0, 80 + 10 * index), (8 * metre, 150 - 5 * index))
        save_score(score_from(tracks, tempos, ((0, metre, 4),)), root / f"{index:02}.mid")
    return root


def module(root, tmp_path, tokenizer, conditions=TOLD, **changes):
    source = Folder(root, fractions=(0.5, 0.25, 0.25), workers=0, near_duplicates="keep")
    settings = {"batch_size": 3, "segment": Segmentation("bars", 4), "store_root": tmp_path / "stores"} | changes
    data = MidiDataModule(source, tokenizer, "hand", progress=False, conditions=conditions, **settings)
    data.setup()
    return data


def naive(score):
    """The attributes by loops over plain notes, beat by beat in the tokenizer's ticks."""
    notes = sorted(
        (note.time, note.duration, note.pitch, -1 if track.is_drum else track.program)
        for track in score.tracks
        for note in track.notes
    )
    first, end = notes[0][0], max(onset + length for onset, length, _, _ in notes)
    sounding = [sum(onset <= tick < onset + length for onset, length, _, _ in notes) for tick in range(first, end)]
    pitched = [(length, pitch) for _, length, pitch, program in notes if program >= 0]
    tempo = [tempo for tempo in score.tempos if tempo.time <= first][-1]  # decoded in the order of the tokens
    (metre,) = {(s.numerator, s.denominator) for s in score.time_signatures}
    bar = score.ticks_per_quarter * metre[0]
    return {
        "density": len(notes) * score.ticks_per_quarter / (end - first),
        "polyphony": sum(sounding) / sum(count > 0 for count in sounding),
        "mean_pitch": sum(pitch for _, pitch in pitched) / len(pitched),
        "note_length": sum(length for length, _ in pitched) / len(pitched) / score.ticks_per_quarter,
        "tempo_bpm": tempo.qpm,
        "bars": notes[-1][0] // bar - first // bar + 1,
        "metre": f"{metre[0]}/{metre[1]}",
        "key": key_estimate(score),
        "programs": "[" + ",".join(str(program) for program in sorted({note[3] for note in notes})) + "]",
    }


def heard(tokenizer, ids, start, end, moved=None):
    """A segment's Score with the tempo and the metre in force, found token by token; `moved` in its place if given."""
    lead = {}
    for number in ids[:start]:
        kind = tokenizer.types[number]
        if kind in ("Tempo", "TimeSig"):
            lead[kind] = int(number)
    return tokenizer.decode([*lead.values(), *(ids[start:end] if moved is None else moved)])


def test_each_segment_is_told_what_its_own_notes_are(folder, tmp_path, tokenizer):
    data = module(folder, tmp_path, tokenizer)
    codec = data.condition_codec
    seen = set()
    for split, loader in (("train", data.train_dataloader()), ("validation", data.val_dataloader())):
        for index, segment in enumerate(data.segments(split)):
            values = naive(heard(tokenizer, data.store.ids(segment.piece), segment.start, segment.end))
            told = loader.dataset[index][2]
            np.testing.assert_array_equal(told, codec.encode(values), err_msg=str(values))
            seen.add(tuple(told))
    assert len(seen) > 20


def test_attributes_are_those_of_the_augmented_segment(folder, tmp_path, tokenizer):
    told = tuple(name for name in TOLD if name != "bars")
    data = module(folder, tmp_path, tokenizer, told, augment=Augmentation(semitones=5, tempo_share=0.4))
    codec, dataset = data.condition_codec, data.train_dataloader().dataset
    changed = set()
    for epoch in range(3):
        for index, segment in enumerate(data.segments("train")):
            row, _, found = dataset[epoch, index]
            values = naive(heard(tokenizer, data.store.ids(segment.piece), segment.start, segment.end, row))
            if "Tempo" not in [tokenizer.types[number] for number in row]:
                values.pop("tempo_bpm")  # its token stands before the segment, and is scaled with it
            for column, field in enumerate(codec.fields):
                if field.name in values:
                    assert found[column] == field.encode(values[field.name]), (field.name, values)
            changed |= {codec.names[column] for column in np.flatnonzero(found != dataset._conditions.of(index))}
    assert changed == {"mean_pitch", "key", "tempo_bpm"}


def test_a_tempo_that_stands_before_a_segment_is_scaled_as_its_token_would_be(folder, tmp_path, tokenizer):
    augmenter = Augmenter(tokenizer, Augmentation(tempo_share=0.4))
    tempos = [number for number, token in enumerate(tokenizer.tokens) if token.startswith("Tempo_")]
    for seed in range(20):
        moved = augmenter.move(np.array(tempos), np.random.default_rng(seed))
        for before, after in zip(tempos, moved.ids, strict=True):
            bpm = float(tokenizer.tokens[before].partition("_")[2])
            expected = float(tokenizer.tokens[after].partition("_")[2])
            assert augmenter.tempo_bpm(bpm, moved.log_tempo) == pytest.approx(expected)


def test_what_was_measured_is_kept_and_measured_anew_for_other_segments(folder, tmp_path, tokenizer, monkeypatch):
    data = module(folder, tmp_path, tokenizer)
    kept = {path: path.read_bytes() for path in data.store.folder.glob("attributes-*.parquet")}
    found = measure_segments(data.store, data.segments("train"), workers=0, progress=False)
    assert set(found) == set(NAMES)
    assert {path: path.read_bytes() for path in data.store.folder.glob("attributes-*.parquet")} == kept
    monkeypatch.setattr("midifactory.data.attributes.segment_attributes", None)
    assert measure_segments(data.store, data.segments("train"), workers=0, progress=False) == found, "only read"
    monkeypatch.undo()
    module(folder, tmp_path, tokenizer, segment=Segmentation("bars", 2))
    assert len(list(data.store.folder.glob("attributes-*.parquet"))) > len(kept)
    for path in kept:  # the same bytes again
        path.unlink()
    module(folder, tmp_path, tokenizer)
    assert {path: path.read_bytes() for path in kept} == kept


def test_loader_workers_and_byte_pairs_tell_the_same(folder, tmp_path, tokenizer):
    merging = Tokenizer(scheme="REMI", vocab_size=900, **dict.fromkeys(USED, True))
    alone, helped = (
        module(folder, tmp_path, merging, TOLD[:4], loader_workers=workers, augment=Augmentation(semitones=2))
        for workers in (0, 1)
    )
    for one, other in zip(alone.train_dataloader(), helped.train_dataloader(), strict=True):
        assert (one["conditions"] == other["conditions"]).all()
    segment = alone.segments("train")[1]
    values = naive(heard(alone.store.tokenizer, alone.store.ids(segment.piece), segment.start, segment.end))
    np.testing.assert_array_equal(
        SegmentConditions.of(alone.train_dataloader().dataset._conditions, 1), alone.condition_codec.encode(values)
    )


def test_whole_pieces_that_no_training_has_seen_are_told_for_their_likelihood(folder, tmp_path, tokenizer):
    data = module(folder, tmp_path, tokenizer)
    for piece in data.pieces("validation"):
        values = naive(tokenizer.decode(data.store.ids(piece))) | {"bars": None}
        np.testing.assert_array_equal(data.conditions[piece], data.condition_codec.encode(values))


def test_an_unknown_attribute_is_told_with_the_nearest_before_anything_is_tokenised(folder, tmp_path, tokenizer):
    with pytest.raises(UserError, match=r"have no densty; they have bars, .*programs.* \(nearest: density\)"):
        module(folder, tmp_path, tokenizer, ["densty"])
    assert not (tmp_path / "stores").exists()
