"""Every mistake is answered by one line that says what was given and what to do; nothing half-written stays."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from midifactory.cli import generate as generate_module
from midifactory.training import checkpoint_folder
from midifactory.training.checkpoint_folder import read_checkpoint, write_checkpoint

from .conftest import TINY, Outcome, write_folder, write_midi


def assert_refused(outcome: Outcome, *parts: str, code: int = 2) -> None:
    """One line on stderr beside progress bars, with all of `parts`, and no traceback anywhere."""
    assert outcome.code == code, outcome
    assert outcome.message.startswith("midifactory: "), outcome
    assert "\n" not in outcome.message.strip(), outcome
    assert "Traceback" not in outcome.out + outcome.err
    for part in parts:
        assert part in outcome.message, outcome.message


def left_behind(folder: Path) -> set[str]:
    """Files below outputs/, temporary ones too, apart from Hydra's records, logs and what is remembered of files."""
    found = [path for path in (folder / "outputs").rglob("*") if path.is_file()]
    kept = {".hydra", "scans"}
    return {path.name for path in found if not kept & set(path.parts) and path.suffix != ".log"}


# --- Data ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "prepare", "analyze", "all"])
def test_a_folder_that_is_not_there(here, tmp_path, command):
    assert_refused(
        here(command, "data=folder", "data.root=no_such"), "data.root=no_such", "does not exist", "name a folder"
    )
    assert_refused(here(command, "no_such"), "'no_such'", "an existing folder")
    assert left_behind(tmp_path) == set()


def test_a_folder_without_midi(here, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    assert_refused(here("train", "texts", *TINY), "data.root=texts", ".mid")
    assert left_behind(tmp_path) == set()


def test_a_folder_with_broken_files_only(here, tmp_path):
    (tmp_path / "broken").mkdir()
    for number in range(4):
        (tmp_path / "broken" / f"{number}.mid").write_bytes(b"MThd\0\0")
    assert_refused(here("train", "broken", *TINY), "none of the 4 MIDI files", "data.root=broken", "add files")
    assert left_behind(tmp_path) == set()


def test_a_folder_with_too_few_pieces(here, tmp_path):
    write_folder(tmp_path / "two", 2)
    assert_refused(here("train", "two", *TINY), "2 pieces", "at least 3", "add MIDI files")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["model.heads=3"], ["d_model=32", "3 heads", "model.d_model"]),
        (["model.kv_heads=8"], ["kv_heads=8", "heads=4", "set model.kv_heads to one of 1, 2, 4"]),
        (["data.segment.length=0"], ["data.segment.length=0", "above 0", "16"]),
        (["data.segment.unit=hours"], ["data.segment.unit=hours", "seconds, bars, tokens"]),
        (["data.batch_size=0"], ["data.batch_size=0", "at least 1"]),
        (["data.max_tokens=16"], ["data.max_tokens=16", "bars of the training pieces", "set data.max_tokens"]),
        (["model.context=50"], ["model.context=50", "tokens", "set data.max_tokens=50"]),
        (["finetune=lora"], ["finetune=lora", "add init_from=CHECKPOINT"]),
        (["schedule.warmup_steps=-1"], ["schedule.warmup_steps=-1", "at least 0"]),
        (["schedule=stable_decay", "schedule.decay_share=2"], ["schedule.decay_share=2", "at most 1"]),
        (["trainer.max_epochs=-1"], ["schedule=cosine", "trainer.max_epochs", "schedule=constant"]),
        (["loss.type_weights={Pich: 2}"], ["loss.type_weights", "'Pich'", "Pitch", "Velocity"]),
        (["loss.type_weights=[2]"], ["loss.type_weights=[2]", "such as {Pitch: 2}"]),
        (["loss.label_smoothing=1"], ["loss.label_smoothing=1", "below 1"]),
        (["callbacks=ema", "callbacks.ema.decay=2"], ["callbacks.ema.decay=2", "0.999"]),
        (["data.fractions=[1,1,1]"], ["fractions", "1"]),
        (["trainer.precision=17"], ["trainer", "17"]),
        (["trainer.accelerator=tpu2"], ["trainer.accelerator=tpu2", "cpu", "mps"]),
        (["seed=-1"], ["seed=-1", "at least 0"]),
        (["seed=4294967296"], ["seed=4294967296", "below 4294967296"]),
        (["tokenizer.scheme=Octuple"], ["tokenizer.scheme=Octuple", "REMI"]),
        (["nonsense.key=3"], ["nonsense.key", "+nonsense.key="]),
        (["model.d_modle=3"], ["model.d_modle"]),
        (["--lerning-rate", "3"], ["lerning_rate"]),
    ],
)
def test_settings_of_a_training(here, tmp_path, arguments, parts):
    write_folder(tmp_path / "my_midis", 4)
    assert_refused(here("train", "my_midis", *TINY, *arguments), *parts)
    assert not {"best.ckpt", "last.ckpt", "result.json"} & left_behind(tmp_path)


def test_an_unknown_choice_lists_the_choices(here):
    assert_refused(here("train", "model=foo"), "model=foo", "gru, lstm, ", "transformer", "nearest")
    assert_refused(here("generate", "sampling=bolt"), "sampling=bolt", "bold, careful, default", "nearest: bold")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has MPS")
def test_an_accelerator_that_is_not_here(here):
    assert_refused(here("train", "trainer.accelerator=mps"), "trainer.accelerator=mps", "available:", "cpu")
    assert_refused(here("generate", "device=mps", "checkpoint=none.ckpt"), "")
    if not torch.cuda.is_available():
        assert_refused(here("train", "accelerator=gpu"), "trainer.accelerator=gpu", "available:", "cpu")


def test_resuming_what_is_not_there(here, tmp_path):
    assert_refused(here("train", "resume=latest"), "resume=latest", "train first")
    assert_refused(here("train", "resume=nonsense"), "resume=nonsense", "resume=latest", "outputs/train")
    (tmp_path / "file.ckpt").write_bytes(b"x")
    assert_refused(here("train", "resume=file.ckpt"), "resume=file.ckpt", "resume=latest")
    assert_refused(here("train", "-m", "resume=latest", "seed=1,2"), "resume=latest", "-m")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("tokenizer.num_velocities=8", ("tokenizer.num_velocities is 32 in this checkpoint, 8 is asked",)),
        ("tokenizer=tsd", ("tokenizer.scheme is REMI in this checkpoint, TSD is asked",)),
        ("model.d_model=64", ("model.d_model is 32 in this checkpoint, 64 is asked", "leave out model.d_model")),
        ("model=gru", ("model._target_ is ", "Transformer in this checkpoint, ", "Recurrent is asked")),
        ("optimizer=muon", ("optimizer._target_ is torch.optim.AdamW", "Muon is asked")),
        ("optimizer.lr=0.5", ("optimizer.lr is 0.003 in this checkpoint, 0.5 is asked",)),
        ("conditions=[tempo_bpm]", ("conditions is [] in this checkpoint, ['tempo_bpm'] is asked",)),
        ("init_from=outputs", ("resume=", "init_from starts one", "leave one of them out")),
    ],
)
def test_resuming_with_other_settings(studio, in_studio, override, parts):
    (run,) = (studio / "outputs" / "train").iterdir()
    before = {path: path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()}
    assert_refused(in_studio("train", f"resume={run}", override), "resume=", *parts)
    assert {path: path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("optimizer.lr=abc", ("'lr': 'abc'", "conf/optimizer")),
        ("optimizer.lr=-1", ("'lr': -1", "conf/optimizer")),
        ("trainer.max_epochs=0", ("trainer.max_epochs=0", "1 or more")),
        ("trainer.precision=bf16-mixed", ("trainer.precision=bf16-mixed", "set optimizer.fused=false")),
    ],
)
def test_a_training_that_cannot_be(here, tmp_path, override, parts):
    write_folder(tmp_path / "midi")
    for command in ("train", "all"):
        assert_refused(here(command, "midi", *TINY, override), *parts)
    assert left_behind(tmp_path) == set()


def test_a_run_is_not_resumed_with_other_pieces(tmp_path, here):
    """What was learnt before would be in the test split now."""
    write_folder(tmp_path / "midi")
    assert here("train", "midi", *TINY).code == 0
    write_midi(tmp_path / "midi" / "new.mid", 77)
    for _ in range(2):
        assert_refused(
            here("train", "resume=latest", "trainer.max_epochs=3"), "were added, removed or put", "start anew"
        )
    (tmp_path / "midi" / "new.mid").unlink()
    assert here("train", "resume=latest", "trainer.max_epochs=2").code == 0


def test_a_refused_resume_does_not_change_what_the_next_one_does(tmp_path, here):
    write_folder(tmp_path / "my_midis", 4)
    assert here("train", "my_midis", *TINY, "trainer.max_epochs=1").code == 0
    (run,) = (tmp_path / "outputs" / "train").iterdir()
    assert_refused(here("train", "resume=latest", "model.d_model=64"), "model.d_model is 32")
    done = here("train", "resume=latest", "trainer.max_epochs=3")
    assert done.code == 0, done
    assert json.loads((run / "result.json").read_text())["epochs"] == 3
    # An accepted setting is the run's own from then on.
    done = here("train", "resume=latest", "trainer.limit_val_batches=1")
    assert done.code == 0, done
    assert json.loads((run / "result.json").read_text())["epochs"] == 3


# --- Composing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["temperature=-1"], ["temperature=-1", "above 0"]),
        (["temperature=hot"], ["temperature=hot", "number"]),
        (["top_p=0"], ["top_p=0", "(0, 1]"]),
        (["top_p=1.5"], ["top_p=1.5", "(0, 1]"]),
        (["top_k=-1"], ["top_k=-1", "0"]),
        (["top_k=2.5"], ["top_k=2.5", "whole number"]),
        (["bars=0"], ["bars=0", "1"]),
        (["bars=2.5"], ["bars=2.5", "whole number"]),
        (["bars=2", "seconds=3"], ["bars", "seconds", "exactly one"]),
        (["seconds=-3"], ["seconds=-3", "above 0"]),
        (["num_samples=0"], ["num_samples=0", "1"]),
        (["num_samples=many"], ["num_samples=many", "whole number"]),
        (["seed=-1"], ["seed=-1", "at least 0"]),
        (["window=0"], ["window=0", "at least 2"]),
        (["tempo_bpm=1000"], ["tempo_bpm=1000", "400"]),
        (["key=H"], ["key='H'", "F# minor"]),
        (["instruments=[pianola]"], ["'pianola'", "nearest"]),
        (["instruments=piano"], ["instruments=piano", "[piano,bass,drums]"]),
        (["instruments=[300]"], ["300", "0 to 127"]),
        (["polyphony=0"], ["polyphony=0", "at least 1"]),
        (["density=-1"], ["density=-1", "above 0"]),
        (["rhythm_grid=0.3"], ["rhythm_grid=0.3", "24", "0.25"]),
        (["harmony=C H7x"], ["'H7x'", "A-G"]),
        (["repetition_penalty=0.5"], ["repetition_penalty=0.5", "1 (off)"]),
        (["grammar=perhaps"], ["grammar=perhaps", "true or false"]),
        (["grammar=false", "polyphony=2"], ["polyphony=2", "without a grammar"]),
        (["grammar=off", "polyphony=2"], ["polyphony=2", "without a grammar"]),
        (["grammar=false", "style=melody"], ["style=melody", "grammar"]),
        (["temperature_per_type.Pich=0.9"], ["temperature_per_type.Pich", "nearest: Pitch"]),
        (["temperature_per_type.Pitch=-1"], ["temperature_per_type.Pitch=-1"]),
        (["min_p=2"], ["min_p=2"]),
        (["best_of=2", "best_by=beauty"], ["best_by=beauty", "likelihood"]),
        (["style=melody", "instruments=[violin,flute]"], ["instruments", "73", "style.program"]),
        (["metre=4/5"], ["metre=4/5", "nearest: 4/4"]),
        (["style=chords", "chords=C H7x"], ["'H7x'", "A-G"]),
        (["chords=C"], ["chords='C'", "style=chords"]),
        (["style=melody", "style.degrees=[1,x]"], ["degrees", "1 to 7"]),
        (["style=arpeggio", "style.program=300"], ["style.program=300", "127"]),
        (["prompt=gone.mid"], ["prompt=gone.mid", "no such file"]),
        (["prompt_bars=2"], ["prompt_bars", "prompt=FILE.mid"]),
        (["tune.mid", "prompt_bars=0"], ["prompt_bars=0", "at least 1"]),
        (["tune.mid", "prompt_notes=0"], ["prompt_notes=0", "at least 1"]),
        (["tune.mid", "prompt_bars=1", "prompt_notes=2"], ["prompt_bars=1", "prompt_notes=2", "one of them"]),
        (["long.mid"], ["tokens", "window", "prompt_bars"]),
        (["broken.mid"], ["broken.mid", "not a valid MIDI file", "another"]),
        (["checkpoint=gone.ckpt"], ["checkpoint=", "gone.ckpt", "no such file"]),
        (["truncated.ckpt"], ["truncated.ckpt", "damaged", "bytes"]),
        (["foreign.ckpt"], ["foreign.ckpt", "single file", "train again"]),
        (["bare.ckpt"], ["bare.ckpt", "not written by midifactory"]),
        (["other_tokenizer.ckpt"], ["other_tokenizer.ckpt", "weights do not fit"]),
        (["other_model.ckpt"], ["other_model.ckpt", "weights do not fit"]),
        (["pickle.ckpt"], ["pickle.ckpt", "damaged: weights.pt cannot be read"]),
        (["checkpoint=my_midis"], ["checkpoint=my_midis", "checkpoints/best.ckpt"]),
        (["nonsense.json"], ["replay=nonsense.json", "midifactory generate"]),
        (["half.json"], ["replay=half.json", "midifactory generate"]),
        (["gone.json"], ["replay=gone.json", "No such file"]),
        (["foo=1"], ["foo", "+foo=1"]),
        (["--foo", "1"], ["foo", "+foo=1"]),
        (["-x"], ["'-x'", "key=value"]),
    ],
)
def test_wishes_of_a_composition(studio, in_studio, bad_files, arguments, parts):
    before = left_behind(studio)
    assert_refused(in_studio("generate", "audio=false", "piano_roll=false", *arguments), *parts)
    assert left_behind(studio) == before


class Bomb:
    """Unpickles to a call."""

    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.fixture(scope="module")
def bad_files(studio):
    """Files that are almost what they should be."""
    (checkpoint,) = (studio / "outputs" / "train").glob("*/checkpoints/best.ckpt")
    good = read_checkpoint(checkpoint)
    card = good["midifactory"]
    write_midi(studio / "tune.mid", 5)
    write_midi(studio / "long.mid", 5, bars=400)
    (studio / "broken.mid").write_bytes(b"RIFF")
    shutil.copytree(checkpoint, studio / "truncated.ckpt")
    os.truncate(studio / "truncated.ckpt" / "weights.pt", 5000)
    (studio / "nonsense.json").write_text('{"a": 1}')
    (studio / "half.json").write_text('{"settings": {')
    torch.save({"state_dict": {}}, studio / "foreign.ckpt")
    (studio / "bare.ckpt").mkdir()
    write_checkpoint(good | {"state_dict": {"bomb": Bomb()}}, studio / "pickle.ckpt")
    fewer = {name: value[:-7] if len(value) > 500 else value for name, value in good["state_dict"].items()}
    write_checkpoint(good | {"state_dict": fewer}, studio / "other_tokenizer.ckpt")
    for name, change in {
        "other_model": {"d_model": 64},
        "evil": {"_target_": "os.system", "command": "touch exploded"},
        "evil_class": {"_target_": "subprocess.Popen", "args": ["touch", "exploded"]},
    }.items():
        write_checkpoint(good | {"midifactory": card | {"model": card["model"] | change}}, studio / f"{name}.ckpt")
    return studio


def test_a_checkpoint_runs_no_code(studio, in_studio, bad_files):
    assert_refused(in_studio("generate", "evil.ckpt"), "os.system", "SequenceModel")
    assert_refused(in_studio("generate", "evil_class.ckpt"), "subprocess.Popen", "SequenceModel")
    assert_refused(in_studio("generate", "pickle.ckpt"), "pickle.ckpt")
    assert not list(studio.rglob("exploded"))


def test_a_replay_names_only_what_a_replay_may(studio, in_studio):
    done = in_studio("generate", "bars=1", "audio=false", "piano_roll=false")
    (made,) = (Path(line.split("replay")[1].strip()) for line in done.out.splitlines() if "  replay" in line)
    record = json.loads(made.read_text())
    for style in (
        {"_target_": "os.system", "command": "touch exploded"},
        {"_target_": "subprocess.Popen", "args": ["touch", "exploded"]},
        {"_target_": "midifactory.generation.styles.Nothing"},
        {"_target_": "nowhere"},
    ):
        record["settings"]["style"] = style
        (studio / "evil.json").write_text(json.dumps(record))
        assert_refused(in_studio("generate", "evil.json"), f"style._target_={style['_target_']}")
    for broken in ({}, {"bars": 1}, [], None, 3):
        (studio / "evil.json").write_text(json.dumps(record | {"settings": broken}))
        assert_refused(in_studio("generate", "evil.json"), "replay=evil.json")
    assert not list(studio.rglob("exploded"))


def test_a_replay_of_changed_files_is_refused(studio, in_studio, tmp_path):
    (checkpoint,) = (studio / "outputs" / "train").glob("*/checkpoints/last.ckpt")
    own = tmp_path / "own.ckpt"
    shutil.copytree(checkpoint, own)
    write_midi(tmp_path / "p.mid", 3)
    silent = ("audio=false", "piano_roll=false")
    done = in_studio("generate", str(own), str(tmp_path / "p.mid"), "prompt_bars=1", "bars=1", *silent)
    (record,) = (line.split("replay")[1].strip() for line in done.out.splitlines() if "  replay" in line)
    write_midi(tmp_path / "p.mid", 4)
    assert_refused(in_studio("generate", record, *silent), "p.mid", "changed since", "put the old file back")
    (tmp_path / "p.mid").unlink()
    assert_refused(in_studio("generate", record, *silent), "p.mid")
    write_midi(tmp_path / "p.mid", 3)
    write_checkpoint(read_checkpoint(own) | {"epoch": 77}, own)
    assert_refused(in_studio("generate", record, *silent), "own.ckpt", "changed since", "put the old one back")


def test_ctrl_c_while_composing(studio, in_studio, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    before = left_behind(studio)
    monkeypatch.setattr(generate_module, "compose", interrupt)
    assert_refused(in_studio("generate", "bars=1"), "interrupted", code=130)
    assert left_behind(studio) == before


# --- Disk full -------------------------------------------------------------------------------------------


def no_space(*arguments, **_):
    raise OSError(errno.ENOSPC, "No space left on device", str(arguments[-1]))


def test_a_full_disk_while_composing(in_studio, studio, monkeypatch):
    before = left_behind(studio)
    monkeypatch.setattr(Path, "replace", no_space)
    assert_refused(in_studio("generate", "bars=1"), "disk full", "free space", code=74)
    assert left_behind(studio) == before


@pytest.mark.parametrize("fits", [0, 3000, 20000])
def test_a_full_disk_while_saving_a_checkpoint_keeps_the_old_one(in_studio, studio, monkeypatch, fits):
    """The disk is full after some bytes of weights.pt, where torch writes through our file."""
    (run,) = (studio / "outputs" / "train").iterdir()
    before = {path: path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()}
    write = checkpoint_folder._Hashing.write

    class Full:
        def __init__(self, file):
            self.file, self.left = file, fits

        def write(self, data):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def close(self):
            self.file.close()

    def filling(self, data):
        if not isinstance(self._file, Full):
            self._file = Full(self._file)
        return write(self, data)

    monkeypatch.setattr(checkpoint_folder._Hashing, "write", filling)
    done = in_studio("train", f"resume={run}", "trainer.max_epochs=4")
    assert_refused(done, "disk full", "checkpoints", "free space", code=74)
    assert {path: path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()} == before
