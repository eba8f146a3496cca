"""What a run shows while it learns, read back from every logger; and samples, which must not change the training."""

import csv
import json
import re
import shutil

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cli.conftest import TINY, run_command, write_folder
from midifactory.cli.hydra_app import wandb_offline
from midifactory.cli.samples import Samples
from midifactory.errors import UserError
from midifactory.music.score import load_score
from training.conftest import new_run, same_weights  # noqa: F401

PHASES = {"data", "forward", "backward", "optimizer", "validation", "other"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The folder and the output of a training with three loggers and samples after its second epoch."""
    desk = tmp_path_factory.mktemp("dashboards")
    write_folder(desk / "my_midis")
    patch = pytest.MonkeyPatch()
    patch.delenv("WANDB_API_KEY", raising=False)
    patch.setenv("NETRC", str(desk / "none"))
    patch.setenv("WANDB_SILENT", "true")
    samples = ("callbacks.samples.every_epochs=2", "callbacks.samples.tokens=40")
    loggers = ("logger=[tensorboard,wandb,csv]", "trainer.log_every_n_steps=2")
    try:
        done = run_command(desk, "train", "my_midis", *TINY, *samples, *loggers)
    finally:
        patch.undo()
    assert done.code == 0, done
    (folder,) = desk.glob("outputs/train/*")
    return folder, done.out


def test_the_end_says_where_the_time_went(shown):
    folder, out = shown
    result = json.loads((folder / "result.json").read_text())
    assert set(result["seconds"]) == PHASES
    assert result["seconds"]["forward"] > 0
    assert sum(result["seconds"].values()) == pytest.approx(60 * result["minutes"], abs=2)
    assert re.search(r"^[\d,]+ tokens/s; of \d+ s: data \d+%, forward \d+%, backward \d+%, optimizer \d+%", out, re.M)


def test_tensorboard_and_csv_have_the_same_figures(shown):
    folder, _ = shown
    board = EventAccumulator(
        str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0, "audio": 0}
    ).Reload()
    tags = board.Tags()
    with (folder / "csv" / "metrics.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    wanted = {f"train/{name}" for name in ("learning_rate", "gradient_norm", "padding_share", "memory_gib", "mfu")}
    wanted |= {f"train/share_{phase}" for phase in ("data", "forward", "backward", "optimizer")}
    wanted |= {"train/tokens_per_s", "val/nats_per_note", "val/nats_Pitch", "val/accuracy_Pitch", "val/nats_Duration"}
    assert wanted <= set(tags["scalars"])
    for name in wanted:
        events = {event.step: event.value for event in board.Scalars(name)}
        rows = {int(row["step"]): float(row[name]) for row in table if row[name]}
        assert events == pytest.approx(rows, rel=1e-5), name
        assert len(rows) >= 2
    (picture,) = board.Images("samples/piece_01_roll")
    assert picture.encoded_image_string.startswith(b"\x89PNG")
    assert picture.width > picture.height
    if shutil.which("fluidsynth"):
        (sound,) = board.Audio("samples/piece_01_sound")
        assert sound.encoded_audio_string.startswith(b"RIFF")
        assert sound.length_frames > 1000


def test_every_logger_has_the_whole_config(shown):
    folder, _ = shown
    settings = yaml.safe_load((folder / "csv" / "hparams.yaml").read_text())
    assert settings["model"]["d_model"] == 32
    assert settings["trainer"]["log_every_n_steps"] == 2
    assert settings["run_dir"].endswith(folder.name)
    assert settings["parameters"] == json.loads((folder / "result.json").read_text())["parameters"]
    assert "git_commit" in settings
    (run,) = folder.glob("wandb/offline-run-*")
    (log,) = run.glob("*.wandb")
    content = log.read_bytes()
    assert re.search(rb'"d_model":\s*32\b', content)
    assert b"val/nats_Pitch" in content
    assert len(list(run.glob("files/media/images/samples/piece_0?_roll*.png"))) == 2
    sounds = [path.read_text() for path in run.glob("files/media/html/samples/piece_0?_sound*.html")]
    assert len(sounds) == (2 if shutil.which("fluidsynth") else 0)
    assert all("data:audio/wav;base64,UklGR" in sound for sound in sounds)  # RIFF


def test_samples_are_music(shown):
    folder, _ = shown
    assert "no samples" not in (folder / "train.log").read_text()
    assert [path.name for path in (folder / "samples").iterdir()] == ["epoch-0002"]
    for number in (1, 2):
        piece = folder / "samples" / "epoch-0002" / f"piece_0{number}.mid"
        assert load_score(piece).note_num() > 0
        assert piece.with_suffix(".png").is_file()
        assert piece.with_suffix(".wav").is_file() == bool(shutil.which("fluidsynth"))


def test_samples_change_nothing_in_the_training(new_run, same_weights, tmp_path, monkeypatch):  # noqa: F811
    """Weights, modes and random numbers are those of a training without."""

    class Watched(Samples):
        def on_train_epoch_end(self, trainer, pl_module):
            pl_module.model.norm.eval()  # a part that is not in training stays so
            before = torch.get_rng_state(), [module.training for module in pl_module.modules()]
            super().on_train_epoch_end(trainer, pl_module)
            assert torch.equal(before[0], torch.get_rng_state())
            assert before[1] == [module.training for module in pl_module.modules()]
            assert pl_module.training

    monkeypatch.setattr(shutil, "which", lambda name: None)
    with_samples = new_run("a", epochs=3, callbacks=[Watched(tmp_path / "samples", 1, 1, 20)]).fit()
    assert len(list((tmp_path / "samples").glob("epoch-000[123]/piece_01.mid"))) == 3
    assert same_weights(with_samples, new_run("b", epochs=3).fit())


def test_numbers_that_cannot_be(tmp_path):
    for name, value in (("every_epochs", -1), ("count", 0), ("tokens", 1.5), ("seed", True)):
        with pytest.raises(UserError, match=f"callbacks.samples.{name}={value}: give a whole number of at least"):
            Samples(tmp_path, **{name: value})


def test_wandb_is_offline_without_a_key(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert wandb_offline()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n")
    (tmp_path / "netrc").chmod(0o600)
    assert not wandb_offline()
    (tmp_path / "netrc").write_text("nonsense")
    assert wandb_offline()
    monkeypatch.setenv("WANDB_API_KEY", "key")
    assert not wandb_offline()
