"""Rows of results: read, composed, trained, measured, recorded and compared."""

import runpy
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from cli.conftest import run_command, write_folder
from midifactory.cli import reproduce, rows
from midifactory.cli.evaluate import with_own_data
from midifactory.cli.rows import markdown, read_row, read_rows
from midifactory.errors import UserError
from midifactory.paths import conf_dir

ROOT = Path(__file__).resolve().parents[2]
ROWS = read_rows()
HEAD = "# Mine, and why.\ncorpus: folder\nmodel: tiny\n"
TRAIN = "train: [data=folder, experiment=smoke, data.limit=null, accelerator=cpu, estimate=false]\n"
EVALUATE = "evaluate: [samples=0]\n"  # to compose would take longer than all else
FIGURES = {
    "nats_per_note": {"value": 2.0, "low": 1.5, "high": 2.5},
    **{"parameters": 9, "minutes": 1, "cpu_minutes": 0.5, "machine": "one"},
}


def composes(command, options):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(command, [*options, "run_dir=x"])


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_every_row_composes_and_was_measured(row):
    value, low, high = row.nats
    assert low <= value <= high
    assert row.name.startswith(f"{row.corpus}-")
    if row.train is None:
        options = with_own_data(row.evaluate)
        assert composes("evaluate", options).data.name.startswith(row.corpus)
    else:
        config = composes("train", row.train)
        assert config.data.name.startswith(row.corpus)
        assert config.trainer.max_time is None  # the same on a slower machine


def test_the_tables_are_those_of_the_rows():
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    with_tables = runpy.run_path(str(ROOT / "scripts" / "results_tables.py"))["with_tables"]
    assert with_tables(text, markdown(ROWS)) == text


def test_without_a_row_all_are_listed(here):
    done = here("reproduce")
    assert done.code == 0, done
    for row in ROWS:
        assert f"{row.name} " in done.out
        assert f"{row.nats[0]:.3f}" in done.out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["bach_chorales-6-gram"], ["bach_chorales-6-gram: no such row", "nearest: bach_chorales-5-gram"]),
        (["none.yaml"], ["none.yaml: no such file"]),
        (["a", "b"], ["takes one row"]),
        (["a", "seed=3"], ["seed=3: reproduce takes data.root="]),
        (["a", "record=perhaps"], ["record=perhaps: give true or false"]),
    ],
)
def test_mistakes_are_told(here, words, parts):
    done = here("reproduce", *words)
    assert done.code == 2
    for part in parts:
        assert part in done.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corpus: a\nmodel: b\ntrain: null\n", "no row of results"),
        (HEAD + "train: smoke\nevaluate: []\n", "train is a list"),
        (HEAD + "train: null\nevaluate: null\n", "evaluate is a list"),
        (HEAD + "train: null\nevaluate: []\nseeds: 3\n", "a row has no seeds"),
        (HEAD + "train: null\nevaluate: []\nmeasured: {nats_per_note: 3}\n", "what was measured is damaged"),
        ("[", "no row of results"),
    ],
)
def test_a_file_that_is_no_row_is_told(tmp_path, text, message):
    (tmp_path / "row.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_row(tmp_path / "row.yaml")


def test_a_row_is_trained_recorded_and_reproduced(tmp_path):
    """One training in all: interrupted at its end, gone on with, and then only read."""
    write_folder(tmp_path / "my_midis")
    mine = tmp_path / "mine.yaml"
    mine.write_text(HEAD + TRAIN + EVALUATE)
    row = ("mine.yaml", "data.root=my_midis")
    refused = run_command(tmp_path, "reproduce", *row)
    assert (refused.code, "not measured yet" in refused.message) == (2, True), refused
    assert not (tmp_path / "outputs").exists()

    first = run_command(tmp_path, "reproduce", *row, "record=true")
    assert first.code == 0, first
    assert mine.read_text().startswith(HEAD + TRAIN + EVALUATE + "measured:\n")
    measured = read_row(mine).measured
    assert measured["nats_per_note"]["low"] < measured["nats_per_note"]["value"] < measured["nats_per_note"]["high"]
    assert measured["steps"] > 0
    run = tmp_path / "outputs" / "reproduce" / "mine" / "train"

    again = run_command(tmp_path, "reproduce", *row)
    assert again.code == 0, again
    assert "trained already" in again.out
    assert "measured already" in again.out
    assert "within the recorded interval" in again.out

    (run / "result.json").unlink()
    resumed = run_command(tmp_path, "reproduce", *row)
    assert resumed.code == 0, resumed
    assert "resume=" in resumed.out
    assert f"mine: {measured['nats_per_note']['value']:.4f} nats" in resumed.out

    figures = {"value": 0.2, "low": 0.1, "high": 0.3}
    mine.write_text(HEAD + TRAIN + EVALUATE + yaml.safe_dump({"measured": measured | {"nats_per_note": figures}}))
    outside = run_command(tmp_path, "reproduce", *row)
    assert outside.code == reproduce.EXIT_OUTSIDE == 4
    assert "OUTSIDE the recorded interval" in outside.out

    other = run_command(tmp_path, "reproduce", "mine.yaml", f"run={run}", "record=true")
    assert other.code == 0, other
    assert read_row(mine).nats[0] == measured["nats_per_note"]["value"]
    mine.write_text(mine.read_text().replace("data.limit=null", "data.limit=11"))
    done = run_command(tmp_path, "reproduce", *row)
    assert (done.code, "is no training of mine" in done.message) == (2, True), done


def test_a_row_without_a_training_needs_no_checkpoint(tmp_path):
    write_folder(tmp_path / "my_midis")
    text = HEAD + "train: null\nevaluate: [model=5-gram, data=folder, samples=0, 'data.fractions=[0.5,0.25,0.25]']\n"
    (tmp_path / "grams.yaml").write_text(text)
    done = run_command(tmp_path, "reproduce", "grams.yaml", "data.root=my_midis", "record=true")
    assert done.code == 0, done
    assert read_row(tmp_path / "grams.yaml").measured["steps"] is None


def test_what_is_recorded_of_an_evaluation(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "train: null\nevaluate: []\n# A remark.\nmeasured:\n  old: 1\n")
    nats = {"value": 1.23456, "low": 1.0, "high": 1.5}
    distance = {"value": 0.25, "low": 0.2, "high": 0.3, "kind": "distance", "corpus": None, "ceiling": {"value": 0.125}}
    share = {"value": 0.5, "low": 0.4, "high": 0.6, "kind": "statistic", "corpus": {"value": 0.75}, "ceiling": {}}
    evaluation = {
        **{"midifactory": "1", "parameters": 7, "split": "test"},
        "likelihood": {"nats_per_note": nats, "pieces": [{}, {}]},
        "samples": {"count": 3, "metrics": {"repetition": distance, "copied_ngrams_share": share, "other": distance}},
    }
    row = rows.Row("mine", path, "folder", "tiny", None, [], None)
    rows.record(row, evaluation, {"minutes": 2.04, "cpu_minutes": 1.0})
    measured = read_row(path).measured
    assert path.read_text().startswith(HEAD + "train: null\nevaluate: []\n# A remark.\nmeasured:\n")
    assert measured["nats_per_note"] == {"value": 1.2346, "low": 1.0, "high": 1.5}
    assert (measured["pieces"], measured["minutes"], measured["steps"]) == (2, 2.0, None)
    assert measured["samples"] == {
        "count": 3,
        "repetition": {"value": 0.25, "low": 0.2, "high": 0.3, "beside": 0.125},
        "copied_ngrams_share": {"value": 0.5, "low": 0.4, "high": 0.6, "beside": 0.75},
    }
    evaluation["likelihood"]["nats_per_note"] = {"value": 1.2, "low": None, "high": None}
    with pytest.raises(UserError, match="without an interval"):
        rows.record(row, evaluation, {"minutes": 2.04, "cpu_minutes": 1.0})


def test_the_table_of_a_corpus(tmp_path):
    for name, value in (("songs-better", 1.75), ("songs-worse", 2.0)):
        figures = FIGURES | {"nats_per_note": {"value": value, "low": 1.5, "high": 2.5}}
        if name == "songs-better":
            figures |= {"samples": {"count": 4, "repetition": {"value": 0.5, "low": 0.4, "high": 0.6, "beside": 0.1}}}
        head = f"corpus: songs\nmodel: {name[6:]}\ntrain: null\nevaluate: []\n"
        (tmp_path / f"{name}.yaml").write_text(head + yaml.safe_dump({"measured": figures}))
    table = markdown([read_row(path) for path in sorted(tmp_path.iterdir())])
    assert table.splitlines()[2:6] == [
        "| model | parameters | minutes (CPU) | nats per note (95 %) | repetition | reproduce |",
        "| --- | --- | --- | --- | --- | --- |",
        "| worse | 9 | 1 (0.5) | 2.000 (1.500 to 2.500) | - | `midifactory reproduce songs-worse data.root=FOLDER` |",
        "| better | 9 | 1 (0.5) | 1.750 (1.500 to 2.500) | 0.500 (0.100) "
        "| `midifactory reproduce songs-better data.root=FOLDER` |",
    ]
    assert rows.listing([]).startswith("no rows in ")
