"""Values to ids against counting by hand; what a user asks for meets what training had; ids reach their segments."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from midifactory.data.conditions import NOT_GIVEN, ConditionCodec, Label, Number, as_number, piece_labels, programs_text
from midifactory.data.datamodule import MidiDataModule, Segmentation
from midifactory.errors import UserError
from midifactory.music.corpora import CollectOptions, Folder, SourceFile, collect_files
from midifactory.music.score import save_score
from midifactory.tokens.augment import Augmentation

JIGS_AND_REELS = [{"kind": kind} for kind in ("reel", "jig", "reel", "air", "jig", "reel")] + [{"kind": None}]


def numbers(values, name="tempo_bpm", bins=8):
    return ConditionCodec.fit([name], [{name: value} for value in values], bins).fields[0]


def test_labels_are_numbered_by_frequency_and_0_is_for_all_others():
    codec = ConditionCodec.fit(["kind"], JIGS_AND_REELS)
    assert codec.sizes == (3,)
    ids = [codec.encode(piece).tolist() for piece in JIGS_AND_REELS]
    assert ids == [[1], [2], [1], [NOT_GIVEN], [2], [1], [NOT_GIVEN]], "air stands for one piece only"
    assert codec.encode({"kind": "polka"}).tolist() == [NOT_GIVEN]
    assert codec.encode({}).tolist() == [NOT_GIVEN]


def test_rare_labels_beyond_the_most_frequent_are_not_given():
    pieces = [{"who": f"composer {number}"} for number in range(20) for _ in range(20 - number)]
    codec = ConditionCodec.fit(["who"], pieces, most_values=3)
    assert codec.fields == (Label("who", ("composer 0", "composer 1", "composer 2")),)
    assert Counter(int(codec.encode(piece)[0]) for piece in pieces) == {1: 20, 2: 19, 3: 18, 0: 210 - 57}


def test_ranges_hold_about_as_many_pieces_each_and_their_edges_are_values():
    values = np.random.default_rng(0).uniform(40, 220, 800).round(2).tolist()
    field = numbers(values)
    counts = Counter(field.encode(value) for value in values)
    assert sorted(counts) == list(range(1, 9))
    assert max(counts.values()) - min(counts.values()) <= 5
    rounded = [as_number(value) for value in values]
    assert set(field.edges) <= set(rounded)
    for value in rounded:  # an edge belongs to the range above it
        assert field.encode(value) == 1 + sum(edge <= value for edge in field.edges)
    assert (field.encode(-1e6), field.encode(1e6)) == (1, 8), "held-out pieces may lie outside"


@pytest.mark.parametrize("values", [[120.0] * 50 + [90.0], [60.0] + [120.0] * 50, [1.0, 2.0], [3.0] * 9 + [4.0] * 9])
def test_equal_edges_are_one_and_no_range_is_empty(values):
    field = numbers(values)
    assert len(field.edges) == len(set(field.edges))
    assert sorted({field.encode(value) for value in values}) == list(range(1, field.size))


def test_a_numeric_label_with_many_values_is_a_number_and_with_few_a_label():
    codec = ConditionCodec.fit(["bpm", "year"], [{"bpm": str(60 + i), "year": str(2000 + i % 3)} for i in range(60)])
    bpm, year = codec.fields
    assert isinstance(bpm, Number)
    assert (bpm.lowest, bpm.highest) == (60, 119)
    assert isinstance(year, Label)
    assert set(year.values) == {"2000", "2001", "2002"}


def test_a_wish_is_a_number_of_the_range_or_low_medium_high():
    field = numbers(range(1, 61))
    assert [field.encode_wish(word) for word in ("low", "Medium", " HIGH ")] == [
        field.encode(value) for value in (10, 30, 50)
    ]
    for typed in (7, "7", 7.0, "7.0"):
        assert field.encode_wish(typed) == field.encode(7)
    for typed in (0, 61, "fast", "nan", "inf", [7], None):
        with pytest.raises(UserError, match=r"give a number from 1 to 60, or low \(10\), medium \(30\), high \(50\)"):
            field.encode_wish(typed)


def test_what_is_shown_may_be_typed():
    """Tempos as MIDI stores them, in whole microseconds a beat."""
    field = numbers([60e6 / round(60e6 / bpm) for bpm in range(60, 180)])
    assert (field.lowest, field.highest) == (60, 179)
    for value in (field.lowest, field.highest, *field.levels, *field.edges):
        field.encode_wish(f"{value:g}")


def test_any_subset_may_be_wished_for_and_wishes_in_another_case():
    codec = ConditionCodec.fit(["kind", "tempo_bpm"], [p | {"tempo_bpm": i} for i, p in enumerate(JIGS_AND_REELS)])
    assert codec.encode_wish({}).tolist() == [0, 0]
    assert codec.encode_wish({"kind": "JIG"}).tolist() == [2, 0]
    assert codec.encode_wish({"tempo_bpm": 0, "kind": None}).tolist() == [0, 1]
    assert codec.encode_wish({"tempo_bpm": 6, "kind": "reel"}).tolist() == [1, codec.sizes[1] - 1]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"style": "jig"}, ["conditions.style", "trained with kind, programs", '"conditions=[kind,programs,style]"']),
        ({"program": "0"}, ["conditions.program", "did you mean programs?"]),
        ({"kind": "jigs"}, ["conditions.kind=jigs", "knows reel, jig", "nearest: jig"]),
        ({"programs": "[0,5]"}, ["conditions.programs=[0,5]", "[-1,0,33], [0]", "nearest: [0]"]),
    ],
)
def test_wishes_that_the_model_does_not_know_are_answered_with_what_it_knows(wish, words):
    pieces = [{"kind": kind, "programs": sets} for kind in ("reel", "jig") for sets in ("[0]", "[-1,0,33]")]
    codec = ConditionCodec.fit(["kind", "programs"], [{"kind": "reel", "programs": "[-1,0,33]"}, *pieces])
    with pytest.raises(UserError) as caught:
        codec.encode_wish(wish)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("typed", ["[0,33,-1]", "-1 0 33", "33, 0, -1, 0", [33, 0, -1]])
def test_a_set_of_programs_may_be_typed_in_any_order(typed):
    field = Label("programs", ("[0]", programs_text([33, -1, 0, 0])))
    assert field.encode_wish(typed) == 2


def test_an_error_lists_no_more_than_one_line_holds():
    field = Label("who", tuple(f"composer {number}" for number in range(300)))
    with pytest.raises(UserError, match="and 280 more") as caught:
        field.encode_wish("nobody")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["style"], "have no style; they have kind, tempo_bpm, title (nearest: title)"),
        (["kind", "kind"], "kind is given twice"),
        (["tempo_bpm"], "tempo_bpm is 120 in all 4 training pieces"),
        (["title"], "title is another one in each of 4 training pieces"),
        (["empty"], "have no empty"),
    ],
)
def test_conditions_that_tell_nothing_are_refused(names, words):
    pieces = [{"kind": "ab"[i % 2], "tempo_bpm": 120.0, "title": f"no. {i}", "empty": None} for i in range(4)]
    with pytest.raises(UserError) as caught:
        ConditionCodec.fit(names, pieces)
    assert words in str(caught.value)


def test_a_codec_survives_as_plain_values():
    codec = ConditionCodec.fit(["tempo_bpm", "kind"], [p | {"tempo_bpm": i} for i, p in enumerate(JIGS_AND_REELS)])
    assert ConditionCodec.from_dict(json.loads(json.dumps(codec.to_dict()))) == codec
    assert len(codec.describe()) == 2
    with pytest.raises((KeyError, TypeError)):
        ConditionCodec.from_dict({"fields": [{"name": "kind"}]})


def test_a_grown_codec_keeps_the_ids_it_had():
    old = ConditionCodec.fit(["kind", "tempo_bpm"], [p | {"tempo_bpm": i} for i, p in enumerate(JIGS_AND_REELS)])
    pieces = [{"kind": kind, "tempo_bpm": 100, "mood": mood} for kind in ("polka", "jig", "polka") for mood in "ab"]
    grown = old.grown(["mood"], [*pieces, {"kind": "waltz", "tempo_bpm": 100, "mood": "a"}])
    assert grown.names == ("kind", "tempo_bpm", "mood")
    assert grown.fields[0] == Label("kind", ("reel", "jig", "polka")), "waltz stands for one piece only"
    for piece in JIGS_AND_REELS:
        for tempo in range(7):
            values = piece | {"tempo_bpm": tempo}
            assert grown.encode(values)[:2].tolist() == old.encode(values).tolist()
    assert grown.encode_wish({"tempo_bpm": 100})[1] == old.sizes[1] - 1


def test_a_codec_grown_by_the_same_pieces_again_stays():
    """A resumed fine-tuning grows what the checkpoint has by the pieces that it grew by."""
    pieces = [{"kind": f"kind {number}"} for number in range(9) for _ in range(2)]
    grown = ConditionCodec.fit(["kind"], JIGS_AND_REELS).grown(["kind"], pieces, most_values=4)
    assert grown.fields[0].values == ("reel", "jig", "kind 0", "kind 1", "kind 2", "kind 3")
    assert grown.grown(["kind"], pieces, most_values=4) == grown


# --- From files ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, score_from):
    """Twelve pieces of eight bars: in low/ of bass notes at 90 bpm, in high/ of flute notes at 150 bpm."""
    for name, lowest, program, bpm in (("low", 30, 33, 90), ("high", 70, 73, 150)):
        root = tmp_path / "midi" / name / "deeper"
        root.mkdir(parents=True)
        for index in range(6):
            notes = [(beat, 1, lowest + (beat * (index + 1)) % 24, 80) for beat in range(32)]
            save_score(score_from([(program, notes)], tempos=((0, bpm),)), root / f"{index}.mid")
    return tmp_path / "midi"


def module(root, tmp_path, tokenizer, conditions=("folder", "tempo_bpm"), **changes):
    source = Folder(root, fractions=(0.5, 0.25, 0.25), workers=0)
    settings = {"batch_size": 3, "segment": Segmentation("bars", 2), "store_root": tmp_path / "stores"} | changes
    return MidiDataModule(source, tokenizer, "hand", progress=False, conditions=conditions, **settings)


class Labelled:
    """A source of the files of a folder, with labels by their order."""

    def __init__(self, root, labels):
        self.root, self.labels = root, labels

    def collect(self, progress=True):
        """Half of them for training."""
        paths = sorted(self.root.rglob("*.mid"))
        files = [SourceFile(str(i), path, labels=self.labels(i)) for i, path in enumerate(paths)]
        return collect_files("own", files, CollectOptions(fractions=(0.5, 0.25, 0.25), workers=0), progress=False)


def test_a_label_of_the_corpus_comes_before_an_attribute_of_its_name(folder, tmp_path, tokenizer):
    source = Labelled(folder, lambda i: {"key": "GH"[i % 2], "empty": ""})
    assert piece_labels(source.collect())["3"] == {"key": "H", "empty": None}
    settings = {"store_root": tmp_path / "stores", "progress": False, "segment": Segmentation("bars", 2)}
    data = MidiDataModule(source, tokenizer, "own", conditions=["key"], **settings)
    data.setup()
    assert set(data.condition_codec.fields[0].values) == {"G", "H"}
    for piece, ids in data.conditions.items():
        assert ids.tolist() == data.condition_codec.encode_wish({"key": "GH"[int(piece) % 2]}).tolist()
    changes = MidiDataModule(
        source, tokenizer, "own", conditions=["key"], augment=Augmentation(semitones=2), **settings
    )
    with pytest.raises(UserError, match=r"data\.augment\.semitones=2 changes the key"):
        changes.setup()


def test_the_folder_label_starts_where_the_paths_part(folder, score_from):
    save_score(score_from([(0, [(beat, 1, 60 + beat % 5, 80) for beat in range(9)])]), folder / "low" / "loose.mid")
    values = piece_labels(Folder(folder.parent, workers=0).collect(progress=False))  # one folder above: midi/low/...
    assert {row["folder"] for row in values.values()} == {"low", "high"}
    values = piece_labels(Folder(folder / "low", workers=0).collect(progress=False))
    assert {name: row.get("folder") for name, row in values.items()} == {
        **{f"deeper/{i}.mid": "deeper" for i in range(6)},
        "loose.mid": None,
    }


def test_every_segment_carries_its_pieces_ids(folder, tmp_path, tokenizer):
    data = module(folder, tmp_path, tokenizer)
    data.setup()
    codec = data.condition_codec
    assert codec is not None
    assert codec.names == ("folder", "tempo_bpm")
    low, high = (
        codec.encode_wish({"folder": "low", "tempo_bpm": 90}),
        codec.encode_wish({"folder": "high", "tempo_bpm": 150}),
    )
    loaders = {"train": data.train_dataloader(), "validation": data.val_dataloader(), "test": data.test_dataloader()}
    for split, loader in loaders.items():
        epoch = loader.plan.batches(0)
        for indices, batch in zip(epoch, loader, strict=True):
            assert batch["conditions"].dtype == torch.int64
            expected = [low if data.segments(split)[i].piece.startswith("low") else high for i in indices]
            assert batch["conditions"].tolist() == [ids.tolist() for ids in expected]


def test_without_conditions_batches_have_none(folder, tmp_path, tokenizer):
    data = module(folder, tmp_path, tokenizer, conditions=())
    data.setup()
    assert data.condition_codec is None
    assert set(next(iter(data.val_dataloader()))) == {"inputs", "labels", "notes"}


def test_loader_workers_hand_out_the_same_conditions(folder, tmp_path, tokenizer):
    alone, helped = (module(folder, tmp_path, tokenizer, loader_workers=workers) for workers in (0, 1))
    alone.setup(), helped.setup()
    for one, other in zip(alone.train_dataloader(), helped.train_dataloader(), strict=True):
        assert torch.equal(one["conditions"], other["conditions"])


def test_the_report_counts_values_and_pieces_without(folder, tmp_path, tokenizer):
    data = module(folder, tmp_path, tokenizer)
    data.setup()
    counts = Counter(data.corpus.of("train")[i].labels["folder"] for i in range(6))
    report = "\n".join(data.report())
    shown = ", ".join(f"{name}: {counts[name]}" for name in data.condition_codec.fields[0].values)
    assert (
        f"condition folder: 2 values ({shown}); known for 6 of 6 train, 3 of 3 validation, 3 of 3 test pieces" in report
    )
    assert "known for 24 of 24 train, 12 of 12 validation, 12 of 12 test segments" in report
    assert "condition tempo_bpm: 2 values (90-150: " in report


def test_a_value_that_training_never_had_is_not_given_and_reported(folder, tmp_path, tokenizer):
    """Where whole folders stay together, as with data.group_by=folder, held-out folders are unknown."""
    for index in range(6):
        (folder / "low" / "deeper" / f"{index}.mid").rename(folder / f"{'abc'[index % 3]}_{index}.mid")
    source = Folder(folder, fractions=(0.5, 0.25, 0.25), workers=0, seed=1)
    data = MidiDataModule(
        source, tokenizer, "hand", Segmentation("bars", 2), store_root=tmp_path, progress=False, conditions=["folder"]
    )
    data.setup()
    known = {piece for piece, ids in data.conditions.items() if ids[0] != NOT_GIVEN}
    assert known == {piece.id for piece in data.corpus.pieces if piece.id.startswith("high")}
    held_out = [piece.id for piece in data.corpus.of("validation")]
    assert f"{len(known & set(held_out))} of {len(held_out)} validation" in "\n".join(data.report())


def test_augmentation_that_would_make_a_condition_untrue_is_refused(folder, tmp_path, tokenizer):
    augment = Augmentation(tempo_share=0.1)
    with pytest.raises(UserError, match=r"data\.augment\.tempo_share=0.1 changes the seconds"):
        module(folder, tmp_path, tokenizer, ["folder", "seconds"], augment=augment).setup()
    module(folder, tmp_path, tokenizer, ["folder", "tempo_bpm"], augment=augment).setup()


def test_a_wrong_name_is_told_before_anything_is_tokenised(folder, tmp_path, tokenizer):
    with pytest.raises(UserError, match="have no composer; they have bars, density, folder, key"):
        module(folder, tmp_path, tokenizer, ["composer"]).prepare_data()
    assert not (tmp_path / "stores").exists()
