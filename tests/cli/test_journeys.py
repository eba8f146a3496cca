"""What people do from the first folder of MIDI files to new music, and after an accident."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import pytest

from midifactory.music.score import bar_count, load_score, note_arrays
from midifactory.training.checkpoint_folder import newest_good, read_checkpoint
from midifactory.training.module import SequenceTraining

from .conftest import TINY, Outcome, run_command, write_folder, write_midi

SUFFIXES = (".mid", ".png", ".wav", ".json")


def pieces_of(outcome: Outcome) -> list[Path]:
    """The MIDI files that a generation says it wrote."""
    assert outcome.code == 0, outcome
    return [Path(line) for line in re.findall(r"^(/.*\.mid)  \(", outcome.out, re.MULTILINE)]


def opening_notes(path: Path, count: int) -> list[tuple[int, int]]:
    """(onset in quarters, pitch) of the first notes of a file."""
    score = load_score(path)
    notes = note_arrays(score)
    return list(zip((notes["onset"] / score.ticks_per_quarter).tolist(), notes["pitch"].tolist(), strict=True))[:count]


@pytest.fixture(scope="module")
def generated(studio):
    """Two pieces by the newest checkpoint, which nobody named."""
    return pieces_of(run_command(studio, "generate", "num_samples=2", "bars=2", "seed=7"))


def test_training_leaves_a_whole_run(studio):
    (run,) = (studio / "outputs" / "train").iterdir()
    result = json.loads((run / "result.json").read_text())
    assert result["steps"] == 6
    assert result["epochs"] == 2
    for split in ("validation", "test"):
        assert 0 < result[split]["nats_per_note"] < 2 * result[split]["uniform_nats_per_note"]
    for name in ("best.ckpt", "last.ckpt"):
        assert "state_dict" in read_checkpoint(run / "checkpoints" / name)
    splits = [piece["split"] for piece in json.loads((run / "corpus.json").read_text())["pieces"]]
    assert sorted(splits) == ["test"] * 3 + ["train"] * 6 + ["validation"] * 3


def test_the_same_seed_trains_the_same_model(studio, tmp_path):
    (first,) = (studio / "outputs" / "train").glob("*/result.json")
    done = run_command(tmp_path, "train", str(studio / "my_midis"), *TINY)
    assert done.code == 0, done
    (second,) = tmp_path.glob("outputs/train/*/result.json")
    one, two = (json.loads(path.read_text()) for path in (first, second))
    assert one["test"] == two["test"]
    assert one["validation"] == two["validation"]


def test_every_piece_is_a_midi_file_a_picture_a_sound_and_a_replay(generated):
    assert len(generated) == 2
    for midi in generated:
        assert bar_count(load_score(midi)) == 2
        assert midi.with_suffix(".png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        with wave.open(str(midi.with_suffix(".wav"))) as sound:
            assert sound.getnframes() > sound.getframerate()
        record = json.loads(midi.with_suffix(".json").read_text())
        assert record["notes"] == load_score(midi).note_num()
    assert generated[0].read_bytes() != generated[1].read_bytes()
    assert {path.suffix for path in generated[0].parent.iterdir() if path.stem.startswith("piece")} == set(SUFFIXES)


def test_a_replay_is_the_same_to_the_byte(generated, in_studio):
    second = generated[1]
    (again,) = pieces_of(in_studio("generate", str(second.with_suffix(".json"))))
    assert again != second
    for suffix in SUFFIXES:
        assert again.with_suffix(suffix).read_bytes() == second.with_suffix(suffix).read_bytes(), suffix


@pytest.mark.parametrize("name", ["Für Elise (1).mid", "it's, [a] {b}=c.mid"])
def test_a_prompt_may_have_any_name(studio, in_studio, name):
    write_midi(studio / name, seed=99)
    for argument in (name, f"prompt={name}"):
        done = in_studio("generate", argument, "prompt_bars=1", "bars=1", "audio=false", "piano_roll=false")
        (piece,) = pieces_of(done)
        assert opening_notes(piece, 5) == opening_notes(studio / name, 5)
        settings = json.loads(piece.with_suffix(".json").read_text())["settings"]
        assert settings["prompt"] == str((studio / name).resolve())
        assert bar_count(load_score(piece)) == 2


def test_styles_from_the_command_line(in_studio):
    quick = ("bars=2", "audio=false", "piano_roll=false")
    (piece,) = pieces_of(in_studio("generate", "style=chords", "chords=Am F#m7", "--tempo-bpm", "87.5", *quick))
    first = note_arrays(load_score(piece))
    assert {int(pitch) % 12 for pitch in first["pitch"][first["onset"] == 0]} == {9, 0, 4}
    assert [round(tempo.qpm, 2) for tempo in load_score(piece).tempos] == [87.5]
    (piece,) = pieces_of(in_studio("generate", "style=melody", "key=F# minor", "metre=3/4", *quick))
    assert note_arrays(load_score(piece))["pitch"][0] % 12 == 6
    assert load_score(piece).time_signatures[0].numerator == 3


def test_twenty_files_three_of_them_broken(here, tmp_path):
    folder = write_folder(tmp_path / "mixed", 17)
    (folder / "empty.mid").write_bytes(b"")
    (folder / "text.mid").write_text("this is no music")
    (folder / "half.mid").write_bytes((folder / "00.mid").read_bytes()[:40])
    done = here("train", "mixed", *TINY)
    assert done.code == 0, done
    assert "17 pieces" in done.out
    assert "left out: 3 rejected" in done.out
    (run,) = (tmp_path / "outputs" / "train").iterdir()
    rejected = json.loads((run / "corpus.json").read_text())["rejected"]
    assert {Path(item["path"]).name for item in rejected} == {"empty.mid", "text.mid", "half.mid"}
    for item in rejected:
        assert len(item["reason"]) > 5
        assert f"{item['path']}: {item['reason']}" in done.out


def test_a_sweep_trains_every_combination(here, tmp_path):
    write_folder(tmp_path / "my_midis", 6)
    short = ("trainer.max_epochs=1", "trainer.limit_train_batches=1", "accelerator=cpu", "estimate=false")
    done = here("train", "-m", "my_midis", "model=transformer,gru", "model.d_model=16,32", "model.layers=1", *short)
    assert done.code == 0, done
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    results = [json.loads((sweep / str(job) / "result.json").read_text()) for job in range(4)]
    assert [result["model"] for result in results] == ["Transformer", "Transformer", "Recurrent", "Recurrent"]
    assert len({result["parameters"] for result in results}) == 4
    assert all("=" not in path.name for path in sweep.rglob("*"))


def test_prepare_is_done_once(here, tmp_path):
    write_folder(tmp_path / "my_midis", 6)
    first = here("prepare", "my_midis")
    assert first.code == 0, first
    (store,) = (tmp_path / "outputs" / "prepared").glob("my_midis-*")
    assert f"prepared: {store.relative_to(tmp_path)}" in first.out
    written = (store / "ids.bin").stat().st_mtime_ns
    second = here("prepare", "my_midis")
    assert "6 pieces" in second.out
    assert list((tmp_path / "outputs" / "prepared").glob("my_midis-*")) == [store]
    assert (store / "ids.bin").stat().st_mtime_ns == written


def test_analyze_counts_what_is_there(here, tmp_path):
    write_folder(tmp_path / "my_midis", 5)
    done = here("analyze", "my_midis")
    assert done.code == 0, done
    (run,) = (tmp_path / "outputs" / "analyze").iterdir()
    listing = json.loads((run / "analysis.json").read_text())
    assert [piece["id"] for piece in listing["pieces"]] == [f"{number:02}.mid" for number in range(5)]
    assert (run / "analysis.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_all_of_it_with_the_chorales(here, tmp_path):
    done = here("all", "experiment=smoke", "accelerator=cpu", "generate.bars=2", "generate.audio=false")
    assert done.code == 0, done
    (run,) = (tmp_path / "outputs" / "all").iterdir()
    assert bar_count(load_score(run / "music" / "piece_01.mid")) == 2
    assert json.loads((run / "result.json").read_text())["corpus"] == "bach_chorales"
    for name in ("analysis.json", "corpus.json", "checkpoints/best.ckpt"):
        assert (run / name).exists(), name


# --- Accidents -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Two long trainings as processes, stopped in the middle: name -> (folder, process, stderr)."""
    runs = {}
    for name in ("interrupted", "killed"):
        folder = tmp_path_factory.mktemp(name)
        write_folder(folder / "my_midis")
        long = ("trainer.max_epochs=5000", "model.d_model=16", "callbacks.early_stopping=null")
        arguments = [sys.executable, "-m", "midifactory.cli.main", "train", "my_midis", *TINY, *long]
        process = subprocess.Popen(
            arguments, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        runs[name] = (folder, process)
    done = {}
    for name, (folder, process) in runs.items():
        limit = time.monotonic() + 90
        while not list(folder.glob("outputs/train/*/checkpoints/last.ckpt")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < limit
            time.sleep(0.1)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT if name == "interrupted" else signal.SIGKILL)
        done[name] = (folder, process, process.communicate(timeout=60)[1])
    return done


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_saves_and_says_how_to_go_on(stopped):
    folder, process, errors = stopped["interrupted"]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    last = errors.strip().splitlines()[-1]
    (run,) = (folder / "outputs" / "train").iterdir()
    step = read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"]
    assert last.startswith(f"midifactory: stopped at step {step}, saved as ")
    assert f"resume={run.relative_to(folder)}" in last or f"resume={run}" in last


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("name", ["interrupted", "killed"])
def test_a_stopped_run_goes_on_where_it_was(stopped, name, monkeypatch):
    folder, process, _ = stopped[name]
    assert process.returncode == (130 if name == "interrupted" else -signal.SIGKILL)
    (run,) = (folder / "outputs" / "train").iterdir()
    newest, _ = newest_good(run / "checkpoints")  # best.ckpt, where the kill came just before last.ckpt
    before = read_checkpoint(newest)
    trained = []
    step = SequenceTraining.training_step

    def counting(self, batch, batch_idx):
        trained.append(self.trainer.global_step)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SequenceTraining, "training_step", counting)
    total = (before["epoch"] + 3) * 3  # three batches an epoch
    done = run_command(folder, "train", "resume=latest", f"trainer.max_epochs={before['epoch'] + 3}")
    assert done.code == 0, done
    assert list((folder / "outputs" / "train").iterdir()) == [run]
    assert trained == list(range(before["global_step"], total))
    result = json.loads((run / "result.json").read_text())
    assert result["steps"] == total
    after = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert after["midifactory"]["model"] == before["midifactory"]["model"]
    assert after["midifactory"]["model"]["d_model"] == 16
    logged = []
    for part in ("metrics_1.csv", "metrics.csv"):  # before the stop, and since
        with (run / "csv" / part).open() as file:
            logged.append([int(row["step"]) for row in csv.DictReader(file)])
    assert min(logged[0]) < before["global_step"]
    validation = before["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
    if validation["started"] > validation["completed"]:  # stopped in it: done again, and logged at the step before it
        assert min(logged[1]) == before["global_step"] - 1
    else:
        assert min(logged[1]) >= before["global_step"]
    assert max(logged[1]) == total - 1
    (piece,) = pieces_of(run_command(folder, "generate", "bars=1", "audio=false", "piano_roll=false"))
    assert str(run) in json.loads(piece.with_suffix(".json").read_text())["settings"]["checkpoint"]


@pytest.mark.skipif(os.name == "nt", reason="sends SIGTERM")
def test_a_sigterm_after_the_last_step_is_no_success(here, tmp_path, monkeypatch):
    write_folder(tmp_path / "my_midis", 6)
    with monkeypatch.context() as patch:
        patch.setattr(SequenceTraining, "on_train_end", lambda _: os.kill(os.getpid(), signal.SIGTERM))
        done = here("train", "my_midis", *TINY)
    assert done.code == 143
    assert "stopped after the last step; go on with: python train.py resume=" in done.message
    done = here("train", "resume=latest")
    assert done.code == 0, done
    (result,) = tmp_path.glob("outputs/train/*/result.json")
    assert json.loads(result.read_text())["epochs"] == 2


def test_a_damaged_checkpoint_is_named_and_the_next_newest_is_gone_on_with(studio, tmp_path):
    shutil.copytree(studio, tmp_path, dirs_exist_ok=True)
    (run,) = (tmp_path / "outputs" / "train").iterdir()
    last, best = run / "checkpoints" / "last.ckpt", run / "checkpoints" / "best.ckpt"
    os.truncate(last / "training.pt", 100)
    refused = run_command(tmp_path, "train", f"resume={last}", "trainer.max_epochs=3")
    assert refused.code == 2
    assert "last.ckpt is damaged: training.pt has 100 bytes" in refused.message
    done = run_command(tmp_path, "train", "resume=latest", "trainer.max_epochs=3")
    assert done.code == 0, done
    assert "last.ckpt is damaged: training.pt has 100 bytes" in done.message
    assert f"going on from {best.relative_to(tmp_path)}" in done.message
    assert json.loads((run / "result.json").read_text())["steps"] == 9
    assert read_checkpoint(last)["global_step"] == 9
    for path in (last, best):
        (path / "hashes.json").write_text("{}")
    lost = run_command(tmp_path, "train", "resume=latest")
    assert lost.code == 2
    assert lost.message.splitlines()[-1].startswith("midifactory: resume=latest: none of its 2 checkpoints is whole; ")
