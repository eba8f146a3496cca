"""Trainings of two processes on the CPU, started as users start them."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from cli.conftest import TINY, run_command, write_folder
from midifactory.training.checkpoint_folder import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
# Without dropout, so that one process can do what two do; pieces of unequal length, so that their tokens differ.
SAME = (
    *TINY, "model.d_model=16", "model.dropout=0", "trainer.max_epochs=8", "trainer.limit_train_batches=null",
    "trainer.limit_val_batches=null", "trainer.log_every_n_steps=1", "callbacks.early_stopping=null",
    "callbacks.samples.every_epochs=0", "data.segment.length=8",
)  # fmt: skip
TWO = ("trainer=ddp", "trainer.devices=2")


def witness(folder, breaks="null"):
    return f"+callbacks.witness={{_target_: cli.witness.Witness, folder: {folder}, breaks: {breaks}}}"


def start(cwd, *arguments, program=(sys.executable, str(ROOT / "train.py"))):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}"}
    return subprocess.Popen(
        [*program, *arguments], cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def seen(folder):
    """rank -> lines of its witness."""
    return {int(path.stem): [json.loads(line) for line in path.open()] for path in folder.glob("*.jsonl")}


def rows_by_step(ranks, kind):
    """(step, how often it was seen by then) -> the rows of all ranks together."""
    together = {}
    for lines in ranks.values():
        times = Counter()
        for line in (line for line in lines if line["kind"] == kind):
            together.setdefault((line["step"], times[line["step"]]), []).extend(line["rows"])
            times[line["step"]] += 1
    return {step: sorted(rows) for step, rows in together.items()}


def logged(run, column):
    """step -> value, of a run and the parts of it before it was resumed."""
    found = {}
    for path in sorted((run / "csv").glob("metrics*.csv")):
        with path.open(encoding="utf-8") as file:
            found |= {int(row["step"]): float(row[column]) for row in csv.DictReader(file) if row[column]}
    return found


def gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def wait_for(found, process):
    limit = time.monotonic() + 900
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    write_folder(folder / "my_midis")
    done = run_command(folder, "train", "my_midis", *SAME, "data.batch_size=8", f"hydra.run.dir={folder / 'one'}")
    assert done.code == 0, done
    return folder


@pytest.mark.slow
def test_two_processes_stopped_and_resumed_are_one_with_the_doubled_batch(place):
    """Rows, logged losses and weights; exit code, processes and files after SIGTERM to the one that was started."""
    arguments = ("my_midis", *SAME, *TWO, "data.batch_size=4", witness(place / "seen"))
    first = start(place, *arguments)
    wait_for(lambda: list(place.glob("outputs/train/*/checkpoints/last.ckpt")), first)
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=900)
    assert first.returncode == 143, (out, err)
    assert err.count("midifactory: stopped at step") == 1
    assert "Traceback" not in err
    ranks = seen(place / "seen")
    assert {len({line["process"] for line in lines}) for lines in ranks.values()} == {1}
    assert ranks.keys() == {0, 1}
    assert all(gone(lines[0]["process"]) for lines in ranks.values())
    (run,) = place.glob("outputs/train/*")
    stopped_at = read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"]
    assert stopped_at == int(re.search(r"stopped at step (\d+)", err)[1])
    again = start(place, "resume=latest")
    out, err = again.communicate(timeout=900)
    assert again.returncode == 0, (out, err)
    assert out.count("nats per note") == 1
    assert list(place.glob("outputs/train/*")) == [run]
    assert json.loads((run / "result.json").read_text())["processes"] == 2
    assert {path.name for path in run.iterdir()} == {path.name for path in (place / "one").iterdir()}

    one = read_checkpoint(place / "one" / "checkpoints" / "last.ckpt")
    two = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert stopped_at < two["global_step"] == one["global_step"]
    for name, weight in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], weight, rtol=1e-4, atol=1e-5, msg=name)
    for column in ("train/loss", "train/nats_per_note", "val/nats_per_note", "val/loss", "train/gradient_norm"):
        expected, found = logged(place / "one", column), logged(run, column)
        assert len(found) >= 7
        assert expected.keys() - found.keys() <= {stopped_at - 1}  # what a step logs is written after it
        assert found == pytest.approx({step: expected[step] for step in found}, rel=1e-5), column
    ranks = seen(place / "seen")
    assert len({len(lines) for lines in ranks.values()}) == 1
    steps = rows_by_step(ranks, "train")
    assert len(steps) == two["global_step"]
    each = sum((Counter(rows) for rows in steps.values()), Counter())
    assert set(each.values()) == {8}, "every segment once in each of the eight epochs"
    validated = rows_by_step(ranks, "validation")
    assert {count for rows in validated.values() for count in Counter(rows).values()} == {1}


@pytest.mark.slow
def test_a_loss_that_breaks_in_one_process_stops_both(place, tmp_path):
    os.symlink(place / "my_midis", tmp_path / "my_midis")
    run = start(tmp_path, "my_midis", *SAME, *TWO, "data.batch_size=4", witness(tmp_path / "seen", breaks=6))
    out, err = run.communicate(timeout=900)
    assert run.returncode == 3, (out, err)
    assert "the loss of another process is not finite" in err
    assert "Traceback" not in err
    ranks = seen(tmp_path / "seen")
    assert all(gone(lines[0]["process"]) for lines in ranks.values())
    assert {sum(line["kind"] == "train" for line in lines) for lines in ranks.values()} == {6}
    (last,) = tmp_path.glob("outputs/train/*/checkpoints/last.ckpt")
    assert all(torch.isfinite(weight).all() for weight in read_checkpoint(last)["state_dict"].values())


@pytest.mark.slow
def test_torchrun_starts_the_processes(place):
    """Through the console command's module, so that the subcommand's name passes, too."""
    run = place / "by_torchrun"
    program = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    program += ("-m", "midifactory.cli.main", "train")
    short = ("trainer.max_epochs=1", f"hydra.run.dir={run}", "data.batch_size=4")
    settings = [item for item in SAME if not item.startswith("trainer.max_epochs")]
    process = start(place, "my_midis", *settings, *TWO, *short, program=program)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, (out, err)
    assert json.loads((run / "result.json").read_text())["processes"] == 2
    assert out.count("nats per note") == 1
    # Its schedule is another, so only the first loss is that of the longer run.
    assert logged(run, "train/loss")[0] == pytest.approx(logged(place / "one", "train/loss")[0], rel=1e-5)


def test_processes_without_a_common_folder_are_told(tmp_path, monkeypatch):
    write_folder(tmp_path / "my_midis", 4)
    monkeypatch.setenv("RANK", "1")
    done = run_command(tmp_path, "train", "my_midis", *TINY)
    assert done.code == 2
    assert "hydra.run.dir=outputs/train/NAME" in done.message
    assert not (tmp_path / "outputs").exists()


def test_a_validation_by_the_clock_is_refused(tmp_path):
    write_folder(tmp_path / "my_midis", 4)
    done = run_command(tmp_path, "train", "my_midis", *TINY, *TWO, "trainer.val_check_interval='00:00:10:00'")
    assert done.code == 2
    assert "trainer.val_check_interval of 600 s: the clocks of 2 processes differ" in done.message


def test_a_sweep_starts_no_processes(tmp_path):
    write_folder(tmp_path / "my_midis", 4)
    done = run_command(tmp_path, "train", "-m", "my_midis", *TINY, *TWO, "seed=1,2")
    assert done.code == 2
    assert "set trainer.devices=1" in done.err
