"""Every model of conf/model, from files to music: trained and asked for a piece by the commands alone."""

import csv
import json
import math
import random
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from midifactory.music.score import bar_count, load_score
from midifactory.paths import conf_dir
from midifactory.training.checkpoint_folder import read_checkpoint

from .conftest import TINY, run_command, write_folder

STEPS = (
    *(*TINY, "trainer.max_epochs=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1"),
    *("trainer.log_every_n_steps=1", "callbacks.samples.every_epochs=1", "callbacks.samples.tokens=12"),
)
CHORALES = ("data=jsb_chorales", "data.root=chorales", "tokenizer=voice_grid")
# Of each model file what it is trained on; all others read tunes as they are.
DATA = {
    "frames": CHORALES,
    "vae": ("my_midis", "data.segment.unit=bars", "data.segment.length=2", "data.segment.with_next=true"),
}
DATA["vae_transformer"] = DATA["vae"]
MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
FRAMES = (*CHORALES, "model.member=midifactory.models.frames.FrameTransformer", "model.musical_embeddings=true")


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with `my_midis`, and with `chorales` in the published layout."""
    folder = tmp_path_factory.mktemp("models")
    write_folder(folder / "my_midis")
    (folder / "chorales").mkdir()
    sets = {"train": range(4), "valid": range(4, 6), "test": range(6, 8)}
    chorales = {split: [four_voices(seed) for seed in seeds] for split, seeds in sets.items()}
    (folder / "chorales" / "Jsb16thSeparated.json").write_text(json.dumps(chorales))
    return folder


def four_voices(seed: int) -> list[list[int]]:
    """Four bars of quarter notes, soprano to bass at every sixteenth."""
    generator = random.Random(seed)
    beats = [[middle + generator.choice((0, 2, 4, 5, 7)) for middle in (67, 60, 53, 41)] for _ in range(16)]
    return [beat for beat in beats for _ in range(4)]


@pytest.mark.parametrize(
    ("model", "data"),
    [*((name, DATA.get(name, ("my_midis",))) for name in MODELS), ("ensemble", FRAMES)],
    ids=[*MODELS, "ensemble_of_frames"],
)
def test_a_model_file_trains_and_composes(desk, request, model, data):
    run = f"outputs/train/{request.node.callspec.id}"
    done = run_command(desk, "train", *data, f"model={model}", *STEPS, f"hydra.run.dir={run}")
    assert done.code == 0, done
    result = json.loads((desk / run / "result.json").read_text())
    assert all(math.isfinite(result[split]["nats_per_note"]) for split in ("validation", "test"))
    card = read_checkpoint(desk / run / "checkpoints" / "best.ckpt")["midifactory"]
    file = OmegaConf.load(conf_dir() / "model" / f"{model}.yaml")
    assert set(card["model"]) >= set(file) - {"defaults"}
    assert result["model"] == card["model"]["_target_"].rpartition(".")[2]

    assert (desk / run / "samples" / "epoch-0001" / "piece_02.mid").is_file()  # of an untrained model: notes or none
    with (desk / run / "csv" / "metrics.csv").open() as log:
        assert all(float(row["train/mfu"]) > 0 for row in csv.DictReader(log) if row["train/mfu"])

    quick = ("bars=2", "audio=false", "piano_roll=false", f"hydra.run.dir={run}/music")
    done = run_command(desk, "generate", f"checkpoint={run}", *quick)
    assert done.code == 0, done
    piece = load_score(desk / run / "music" / "piece_01.mid")
    assert bar_count(piece) == 2
    assert piece.note_num() > 0
