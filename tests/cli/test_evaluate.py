"""`midifactory evaluate` on the studio's training: its figures, its files, and what it refuses."""

import json
import math
from pathlib import Path

import pytest

from cli.conftest import Outcome, write_folder
from midifactory.cli import evaluate
from midifactory.data.datamodule import MidiDataModule
from midifactory.training.checkpoint_folder import read_checkpoint, write_checkpoint

NGRAM = ("model=5-gram", "data=folder", "data.root=my_midis", "data.fractions=[0.5,0.25,0.25]")


def newest(studio: Path) -> dict:
    """What the last evaluation wrote."""
    folders = sorted((studio / "outputs" / "evaluate").iterdir(), key=lambda path: path.stat().st_mtime)
    return json.loads((folders[-1] / "evaluation.json").read_text(encoding="utf-8"))


def assert_refused(done: Outcome, *parts: str) -> None:
    """One line that names the value, and no traceback."""
    assert done.code == 2, done
    assert len(done.message.strip().splitlines()) == 1, done.message
    for part in parts:
        assert part in done.message


def test_a_checkpoint_is_measured_on_the_data_of_its_own_run(studio, in_studio):
    done = in_studio("evaluate", "samples=0")
    assert done.code == 0, done
    assert done.out.rstrip().endswith("evaluation.html")
    record = newest(studio)
    (run,) = (studio / "outputs" / "train").iterdir()
    trained = json.loads((run / "result.json").read_text())
    corpus = json.loads((run / "corpus.json").read_text())
    found = record["likelihood"]
    assert {row["piece"] for row in found["pieces"]} == {
        row["id"] for row in corpus["pieces"] if row["split"] == "test"
    }
    # The same figures as after training.
    assert found["nats_per_note"]["value"] == pytest.approx(trained["test"]["nats_per_note"], rel=1e-5)
    for name in ("unigram", "uniform"):
        figure = found["baselines"][name]["nats_per_note"]["value"]
        assert figure == pytest.approx(trained["test"][f"{name}_nats_per_note"])
    assert record["parameters"] == trained["parameters"]
    assert record["tokenizer"]["keeps"][:3] == ["duration", "velocity", "tempo"]
    assert found["window_tokens"] == trained["window_tokens"]
    assert found["stride_tokens"] == math.ceil(trained["window_tokens"] / 2)
    # Parts add up to the whole.
    nats = sum(row["nats"] for row in found["pieces"])
    for unit in ("notes", "beats", "seconds", "tokens"):
        whole = nats / sum(row[unit] for row in found["pieces"])
        assert found[f"nats_per_{unit[:-1]}"]["value"] == pytest.approx(whole)
    types = found["by_type"].values()
    assert sum(row["nats_per_note"] for row in types) == pytest.approx(found["nats_per_note"]["value"])
    assert sum(row["tokens"] for row in types) == sum(row["tokens"] for row in found["pieces"])
    assert sum(row["notes"] for row in found["by_position"]) == sum(row["notes"] for row in found["pieces"])
    tenths = sum(row["notes"] * row["nats_per_note"]["value"] for row in found["by_position"] if row["notes"])
    assert tenths == pytest.approx(nats)
    # 8 bars of 4/4 at 100 bpm; 32 quarter notes and 8 held ones.
    assert {(row["notes"], row["beats"], round(row["seconds"], 6)) for row in found["pieces"]} == {(40, 32.0, 19.2)}
    assert found["dropped"]["dropped_notes"] == 0
    for text in (f"{nats / 40 / len(found['pieces']):.3f}", "5-gram", "advanced by", "95 %", "evaluation.json"):
        assert text in done.out


def test_two_evaluations_are_identical(studio, in_studio):
    records = []
    for _ in range(2):
        assert in_studio("evaluate", "seed=3", "samples=0").code == 0
        records.append(newest(studio))
    assert records[0] == records[1]


def test_a_5_gram_needs_no_checkpoint(tmp_path, here):
    write_folder(tmp_path / "my_midis")
    done = here("evaluate", *NGRAM)
    assert done.code == 0, done
    record = newest(tmp_path)
    found = record["likelihood"]
    assert (record["model"], record["checkpoint"]) == ("5-gram", None)
    assert set(found["baselines"]) == {"unigram", "uniform"}
    order = [found, found["baselines"]["unigram"], found["baselines"]["uniform"]]
    figures = [row["nats_per_note"]["value"] for row in order]
    assert figures == sorted(figures)
    assert found["nats_per_note"]["low"] < figures[0] < found["nats_per_note"]["high"]
    assert here("evaluate", *NGRAM, "ngram_pieces=2").code == 0
    assert newest(tmp_path)["likelihood"]["ngram_pieces"] == 2
    assert newest(tmp_path)["parameters"] < record["parameters"]


CARD = {
    "settings": {
        "data": {
            "name": "folder",
            "root": "my midis",
            "limit": None,
            "fractions": [0.5, 0.25, 0.25],
            "seed": 3,
            "limits": {"_target_": "os.system", "max_notes": 9},
            "segment": {"_target_": "os.system", "unit": "bars", "length": 2},
            "source": {"_target_": "os.system", "root": "my midis"},
            "max_tokens": 77,
            "augment": {"semitones": 5},
        }
    }
}
CUT = ["data.segment.unit='bars'", "data.segment.length=2", "data.max_tokens=77"]
LIMIT = "data.limits.max_notes=9"
SPLIT = ["data.root='my midis'", "data.limit=null", "data.fractions=[0.5, 0.25, 0.25]", "data.seed=3"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], ["data=folder", *CUT, *SPLIT, LIMIT, "checkpoint=it"]),
        (["data.seed=4"], ["data=folder", *CUT, *SPLIT[:-1], LIMIT, "checkpoint=it", "data.seed=4"]),
        (["data=maestro", "split=train"], [*CUT, "checkpoint=it", "data=maestro", "split=train"]),
        (["data.root=other"], [*CUT, "checkpoint=it", "data=folder", "data.root=other"]),
        (["data.root=./my midis"],
         ["data=folder", *CUT, *SPLIT[1:], LIMIT, "checkpoint=it", "data.root=./my midis"]),
        (["--model", "5-gram"], ["--baseline", "5-gram"]),
        (["model=5-gram", "data.root=other"], ["data=folder", "baseline=5-gram", "data.root=other"]),
        (["--help"], ["--help"]),
    ],
)  # fmt: skip
def test_a_corpus_is_split_as_in_training_and_classes_are_ours(monkeypatch, typed, expected):
    monkeypatch.setattr(evaluate, "newest_checkpoint", lambda: Path("it"))
    monkeypatch.setattr(evaluate, "read_card", lambda path: CARD)
    assert evaluate.with_own_data(typed) == expected


def test_a_corpus_known_by_name_stays_itself_where_its_folder_is_typed(monkeypatch):
    """As a folder of files it would be split in another way, and hold pieces of the training."""
    card = {"settings": {"data": CARD["settings"]["data"] | {"name": "nottingham", "root": "tunes"}}}
    monkeypatch.setattr(evaluate, "newest_checkpoint", lambda: Path("it"))
    monkeypatch.setattr(evaluate, "read_card", lambda path: card)
    given = evaluate.with_own_data(["data.root=./tunes"])
    assert [item for item in given if item.startswith("data=")] == ["data=nottingham"]
    assert {"data.seed=3", "data.root=./tunes"} <= set(given)
    given = evaluate.with_own_data(["data.root=other"])
    assert [item for item in given if item.startswith("data=")] == ["data=folder"]
    assert not [item for item in given if item.startswith("data.seed")]


def test_a_stride_is_taken_and_said(studio, in_studio):
    done = in_studio("evaluate", "stride_tokens=7", "samples=0")
    assert done.code == 0, done
    assert newest(studio)["likelihood"]["stride_tokens"] == 7
    assert "advanced by 7" in done.out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["split=tset"], ["split=tset", "nearest: test"]),
        (["stride_tokens=100000"], ["stride_tokens=100000", "tokens at once", "give 1 to"]),
        (["stride_tokens=0"], ["stride_tokens=0", "at least 1"]),
        (["seed=-1"], ["seed=-1"]),
        (["model=lstm"], ["model=lstm", "5-gram", "checkpoint=..."]),
        (["model=5-gram", "stride_tokens=3"], ["stride_tokens=3", "no window"]),
        (["model=5-gram", "checkpoint=a.ckpt"], ["model=5-gram", "a.ckpt", "leave one out"]),
        (["model=5-gram", "tokenizer=notes"], ["tokenizer=notes"]),
        (["model=5-gram", "data=folder", "data.root=nowhere"], ["nowhere"]),
        (["checkpoint=nowhere.ckpt"], ["nowhere.ckpt"]),
        (["ngram_pieces=0"], ["ngram_pieces=0"]),
        (["data.fractions=[0.75,0.25,0]"], ["fractions=[0.75, 0.25, 0]"]),
    ],
)
def test_what_cannot_be_measured_is_refused(in_studio, arguments, parts):
    assert_refused(in_studio("evaluate", *arguments), *parts)


def test_a_split_without_pieces(in_studio, monkeypatch):
    monkeypatch.setattr(MidiDataModule, "pieces", lambda self, split: [] if split == "test" else ["a", "b"])
    assert_refused(in_studio("evaluate"), "split=test", "none of its pieces", "2 train, 2 validation, 0 test")


def test_a_folder_without_music(tmp_path, here):
    (tmp_path / "empty").mkdir()
    assert_refused(here("evaluate", "model=5-gram", "data=folder", "data.root=empty"), "empty")


def test_a_checkpoint_that_lacks_its_tokenizer_or_its_data(tmp_path, studio, in_studio):
    (checkpoint,) = (studio / "outputs" / "train").glob("*/checkpoints/best.ckpt")
    good = read_checkpoint(checkpoint)
    card = good["midifactory"]
    for name in ("tokenizer", "settings"):
        rest = {key: value for key, value in card.items() if key != name}
        write_checkpoint(good | {"midifactory": rest}, tmp_path / f"no_{name}.ckpt")
    assert_refused(in_studio("evaluate", f"checkpoint={tmp_path}/no_tokenizer.ckpt"), "no_tokenizer.ckpt", "damaged")
    assert_refused(in_studio("evaluate", f"checkpoint={tmp_path}/no_settings.ckpt"), "no_settings.ckpt", "data=")
    given = ("data=folder", "data.root=my_midis", "data.fractions=[0.5,0.25,0.25]")
    assert in_studio("evaluate", f"checkpoint={tmp_path}/no_settings.ckpt", "samples=0", *given).code == 0
    assert newest(studio)["checkpoint"] == str(tmp_path / "no_settings.ckpt")
