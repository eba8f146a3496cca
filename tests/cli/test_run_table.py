"""`midifactory runs` over folders made by hand, whose every figure is known, and over a real training."""

import csv
import io
import json

import pytest

from midifactory.cli.run_table import COLUMNS, main, read_run, read_runs


def write_run(folder, name, *, result=None, log="", checkpoints=(), overrides=(), config="trainer: {}\n"):
    """A run's folder with as much of it as is given."""
    run = folder / name
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "config.yaml").write_text(
        "data: {name: jsb}\nmodel: {_target_: a.b.Big}\ninit_from: null\n" + config
    )
    (run / ".hydra" / "overrides.yaml").write_text(json.dumps(list(overrides)))
    choices = {"model": "gru", "tokenizer": "tsd"}
    (run / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"choices": choices}}}))
    for checkpoint in checkpoints:
        (run / "checkpoints").mkdir(exist_ok=True)
        (run / "checkpoints" / checkpoint).touch()
    if log:
        (run / "csv").mkdir()
        (run / "csv" / "metrics.csv").write_text(log)
        (run / "csv" / "hparams.yaml").write_text("parameters: 4321\nseed: 0\n")
    if result:
        (run / "result.json").write_text(json.dumps(result))
    return run


def result(validation, test, minutes, parameters=1000):
    """As `train` writes it."""
    held_out = {"validation": {"nats_per_note": validation}, "test": {"nats_per_note": test}}
    return held_out | {"minutes": minutes, "steps": 70, "parameters": parameters, "model": "Recurrent"}


LOG = "epoch,step,train/loss,val/nats_per_note\n0,9,4.5,\n0,11,,6.25\n1,19,4.1,\n1,23,,7.5\n"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Two finished runs, an unfinished one, a job of a sweep, a run that died at once, and what is no training."""
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    best = ("best.ckpt", "last.ckpt")
    write_run(outputs, "train/a", result=result(8.123456, 8.5, 12.34), checkpoints=best, overrides=["optimizer.lr=0.1"])
    other = write_run(outputs, "train/b", result=result(5.5, None, 3.0, 20_000), checkpoints=best)
    (other / "corpus.json").write_text('{"name": "Bach"}')
    write_run(outputs, "train/c", log=LOG, checkpoints=["last.ckpt"])
    write_run(outputs, "multirun/day/0", result=result(7.0, 7.1, 40.0), overrides=["model.d_model=64"])
    write_run(outputs, "train/died")
    write_run(outputs, "generate/x", config="style: {}\n")
    return outputs


def table(capsys, *words):
    """The rows that `--csv` prints."""
    assert main([*words, "--csv"]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_a_row_has_what_the_files_say(desk, capsys):
    rows = {row["folder"]: row for row in table(capsys)}
    assert list(rows) == [
        f"outputs/{name}" for name in ("multirun/day/0", "train/a", "train/b", "train/c", "train/died")
    ]
    assert rows["outputs/train/a"] == {
        "folder": "outputs/train/a", "model": "gru", "tokenizer": "tsd", "data": "jsb", "parameters": "1000",
        "validation": "8.123456", "test": "8.5", "minutes": "12.34", "steps": "70", "finished": "yes",
        "checkpoint": "best.ckpt", "settings": "optimizer.lr=0.1",
    }  # fmt: skip
    assert (rows["outputs/train/b"]["data"], rows["outputs/train/b"]["test"]) == ("Bach", "")
    unfinished = rows["outputs/train/c"]
    assert (unfinished["finished"], unfinished["checkpoint"]) == ("no", "last.ckpt")
    assert unfinished["parameters"] == "4321"
    assert (unfinished["validation"], unfinished["test"], unfinished["steps"]) == ("6.25", "", "24")
    assert set(rows["outputs/train/died"].values()) == {"outputs/train/died", "gru", "tsd", "jsb", "no", ""}


def test_a_resumed_runs_earlier_log_counts(desk):
    (desk / "train" / "c" / "csv" / "metrics_1.csv").write_text("epoch,step,val/nats_per_note\n0,5,6.0\n0,7,nan\n")
    run = read_run(desk / "train" / "c")
    assert (run.validation, run.steps) == (6.0, 24)


def test_sort_filter_and_their_mistakes(desk, capsys):
    def folders(*words):
        return [row["folder"].removeprefix("outputs/") for row in table(capsys, *words)]

    assert folders("sort=validation") == ["train/b", "train/c", "multirun/day/0", "train/a", "train/died"]
    assert folders("sort=-minutes") == ["multirun/day/0", "train/a", "train/b", "train/c", "train/died"]
    assert folders("filter=D_MODEL") == ["multirun/day/0"]
    assert folders("--filter=bach", "--sort=test") == ["train/b"]
    assert folders("root=outputs/multirun") == ["multirun/day/0"]
    for words, message in (
        (["sort=nats"], "sort=nats: no such column; choose one of folder, model, tokenizer, data, parameters, "),
        (["root=nowhere"], "root=nowhere: no such folder; train first"),
        (["what"], "runs takes filter=TEXT, sort=COLUMN, --csv, csv=FILE and root=FOLDER, not 'what'"),
        (["--sort"], "not '--sort'"),
    ):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


def test_the_table_for_people(desk, capsys):
    assert main(["sort=validation"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert tuple(lines[0].split()) == COLUMNS
    assert lines[1].split() == [
        "outputs/train/b",
        "gru",
        "tsd",
        "Bach",
        "20,000",
        "5.500",
        "3.0",
        "70",
        "yes",
        "best.ckpt",
    ]
    ends = {
        line.index(value) + len(value) for line, value in ((lines[0], "minutes"), (lines[1], "3.0"), (lines[3], "40.0"))
    }
    assert len(ends) == 1
    assert main(["filter=nothing"]) == 0
    assert capsys.readouterr().out == "no runs\n"
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: midifactory runs ")


def test_csv_into_a_file_is_what_is_printed(desk, capsys):
    assert main(["csv=runs.csv", "sort=steps"]) == 0
    assert "5 runs: " in capsys.readouterr().out
    assert main(["--csv", "sort=steps"]) == 0
    assert capsys.readouterr().out == (desk.parent / "runs.csv").read_text()


def test_one_damaged_run_does_not_hide_the_others(desk):
    (desk / "train" / "a" / "result.json").write_text("{")
    (desk / "train" / "b" / ".hydra" / "config.yaml").write_text("a: [")
    runs = {run.folder.rpartition("/")[2]: run for run in read_runs(desk)}
    assert set(runs) == {"0", "a", "c", "died"}
    assert (runs["a"].finished, runs["a"].validation) == ("no", None)


def test_a_real_run(in_studio, studio):
    done = in_studio("runs", "--csv")
    assert done.code == 0, done
    (row,) = csv.DictReader(io.StringIO(done.out))
    assert (row["model"], row["tokenizer"], row["data"]) == ("transformer", "remi_plus", "my_midis")
    assert (row["finished"], row["checkpoint"]) == ("yes", "best.ckpt")
    (written,) = (json.loads(path.read_text()) for path in studio.glob("outputs/train/*/result.json"))
    assert float(row["validation"]) == written["validation"]["nats_per_note"]
    assert int(row["steps"]) == written["steps"]
    assert "experiment=smoke" in row["settings"]
