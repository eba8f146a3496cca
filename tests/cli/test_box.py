"""The model in the box: made from a run by scripts/make_box.py, taken where there is no run, refused when damaged."""

import json
import os
import runpy
import shutil
from pathlib import Path

import pytest
import torch

from cli.conftest import TINY, run_command, write_midi
from midifactory.cli import runs
from midifactory.errors import UserError
from midifactory.training.checkpoint import load_trained
from midifactory.training.checkpoint_folder import read_checkpoint

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_box.py"


@pytest.fixture(scope="module")
def made(studio, tmp_path_factory):
    """A box of the studio's training, and the checkpoint that it was made of."""
    box = tmp_path_factory.mktemp("made") / "box"
    (best,) = studio.glob("outputs/train/*/checkpoints/best.ckpt")
    before = Path.cwd()
    os.chdir(studio)
    try:
        make_box = runpy.run_path(str(SCRIPT))["make_box"]
        make_box(best.parents[1], box, "float16", 0.05, "one core")
        with pytest.raises(SystemExit, match="float16 changes validation by"):
            make_box(best.parents[1], box.parent / "none", "float16", -1.0, "one core")
    finally:
        os.chdir(before)
    assert not (box.parent / "none").exists()
    return box, best


@pytest.fixture
def box(made, tmp_path, monkeypatch):
    """A copy of it, which the commands take for theirs."""
    copy = tmp_path / "package" / "box"
    shutil.copytree(made[0], copy)
    monkeypatch.setattr(runs, "box_dir", lambda: copy)
    return copy


@pytest.fixture
def empty(tmp_path):
    """A folder without any run."""
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


SHORT = ("bars=1", "audio=false", "piano_roll=false")


def test_the_box_holds_the_runs_weights_and_says_where_they_come_from(made, studio):
    box, best = made
    kept, trained = load_trained(box), load_trained(best)
    weights, before = kept.model.state_dict(), trained.model.state_dict()
    assert weights.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(weights[name], value.half().float() if value.is_floating_point() else value)
    assert kept.tokenizer.fingerprint == trained.tokenizer.fingerprint
    assert (kept.model_config, kept.profile, kept.window) == (trained.model_config, trained.profile, trained.window)
    text = (box / "CARD.md").read_text()
    assert "experiment=smoke" in text
    for written in (text, (box / "config.json").read_text()):
        assert str(studio) not in written
    with pytest.raises(UserError, match=r"has no training\.pt: it can be composed with, but not be resumed"):
        read_checkpoint(box)


def test_the_card_names_every_training(tmp_path):
    script = runpy.run_path(str(SCRIPT))
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "checkpoints" / "best.ckpt").mkdir(parents=True)
    for run, options in (
        (first, ["seed=1", "data.root='/home/somebody/songs'", "trainer.enable_progress_bar=false"]),
        (second, [f"init_from='{first}'", "optimizer.lr=1e-3"]),
    ):
        (run / ".hydra").mkdir(parents=True)
        (run / ".hydra" / "overrides.yaml").write_text(json.dumps(options))
    assert script["earlier_runs"](second) == [first]
    assert script["command"](first) == "python train.py seed=1 data.root=songs"
    assert script["command"](second) == "python train.py init_from=latest optimizer.lr=1e-3"


def test_without_any_run_the_box_composes_and_knows_what_it_learnt(box, empty):
    done = run_command(empty, "generate", *SHORT)
    assert done.code == 0, done
    assert "no run in outputs: the model in the box" in done.out
    assert "originality: longest copy" in done.out
    (replay,) = empty.glob("outputs/generate/*/piece_01.json")
    assert json.loads(replay.read_text())["settings"]["checkpoint"] == str(box.resolve())
    again = run_command(empty, "generate", str(replay), *SHORT[1:])
    assert again.code == 0, again
    first, second = sorted(empty.glob("outputs/generate/*/piece_01.mid"))
    assert first.read_bytes() == second.read_bytes()


def test_other_commands_take_it_too(box, empty):
    write_midi(empty / "song.mid", 1, bars=2)
    for command in (("continue", "song.mid", *SHORT), ("originality", "song.mid")):
        done = run_command(empty, *command)
        assert done.code == 0, done
        assert "the model in the box" in done.out


def test_a_run_comes_first_and_the_box_is_named(box, empty, studio):
    shutil.copytree(studio / "outputs" / "train", empty / "outputs" / "train")
    own = run_command(empty, "generate", *SHORT)
    named = run_command(empty, "generate", "checkpoint=box", *SHORT)
    assert (own.code, named.code) == (0, 0), (own, named)
    assert "in the box" not in own.out + named.out
    taken = [json.loads(path.read_text())["settings"]["checkpoint"] for path in empty.glob("outputs/generate/*/*.json")]
    assert sorted(Path(path).name for path in taken) == ["best.ckpt", "box"]


def test_it_can_be_fine_tuned(box, empty, studio):
    done = run_command(
        empty, "train", str(studio / "my_midis"), *TINY, "init_from=box", "trainer.limit_train_batches=1"
    )
    assert done.code == 0, done


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "hashes.json"])
def test_a_changed_byte_is_refused(box, empty, name):
    data = bytearray((box / name).read_bytes())
    data[len(data) // 2] ^= 1
    (box / name).write_bytes(data)
    done = run_command(empty, "generate", *SHORT)
    assert done.code == 2, done
    assert "is damaged" in done.message


def test_without_a_box_all_is_as_before(tmp_path, empty, monkeypatch):
    monkeypatch.setattr(runs, "box_dir", lambda: tmp_path / "none")
    done = run_command(empty, "generate", *SHORT)
    assert (done.code, "train first" in done.message) == (2, True), done
    done = run_command(empty, "generate", "checkpoint=box", *SHORT)
    assert (done.code, "no pretrained model" in done.message) == (2, True), done


def test_latest_is_a_run(box, empty):
    done = run_command(empty, "generate", "checkpoint=latest", *SHORT)
    assert (done.code, "train first" in done.message) == (2, True), done
