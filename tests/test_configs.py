"""Every YAML below conf/ composes within its command, and what it names can be made."""

import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from cli.conftest import run_command, write_folder
from midifactory.cli.building import build_datamodule, build_tokenizer, plain
from midifactory.cli.train import build_trainer, check_device
from midifactory.errors import UserError
from midifactory.generation.asked import build_style
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Style
from midifactory.models.interface import SequenceModel
from midifactory.paths import box_dir, conf_dir
from midifactory.tokens.notes import NoteCodec
from midifactory.training.checkpoint import build_model
from midifactory.training.checkpoint_folder import read_checkpoint

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    *("train", "generate", "prepare", "analyze", "all", "attention", "interpolate", "vary", "profile", "continue"),
    *("orchestrate", "live", "obedience", "infill", "add_track", "harmonise", "evaluate", "export"),
    *("compare", "serve"),
)
NOT_COMMANDS = {"asking", "composing", "filling"}
GROUPS_OF_TRAIN = (
    *(
        "data",
        "prepare",
        "tokenizer",
        "model",
        "optimizer",
        "schedule",
        "finetune",
        "trainer",
        "accelerator",
        "callbacks",
        "logger",
        "experiment",
    ),
)
GROUPS_OF_GENERATE = ("sampling", "style")
GROUPS_OF_SWEEPS = ("sweep", "search", "launcher")  # see tests/cli/test_sweep.py
FILES = sorted(path.relative_to(conf_dir()).with_suffix("") for path in conf_dir().rglob("*.yaml"))
# `default` of data has no corpus: it is what the others inherit.
CHOICES = [(str(path.parent), path.name) for path in FILES if len(path.parts) == 2 and path != Path("data/default")]


@pytest.fixture
def composed(tmp_path, monkeypatch):
    """A function that composes a command's config, its run folder in the test's own."""
    monkeypatch.chdir(tmp_path)

    def make(command: str, *overrides: str) -> DictConfig:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return compose(command, [*overrides, f"run_dir={tmp_path}"])

    return make


def test_every_file_has_its_place():
    groups = {group for group, _ in CHOICES}
    assert groups == {*GROUPS_OF_TRAIN, *GROUPS_OF_GENERATE, *GROUPS_OF_SWEEPS, "run", "row"}
    assert {path.name for path in FILES if len(path.parts) == 1} == {*COMMANDS, *NOT_COMMANDS}
    assert {name for group, name in CHOICES if group == "run"} == set(COMMANDS)
    assert not [path for path in FILES if len(path.parts) > 2]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes_and_resolves(composed, command):
    config = composed(command)
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert resolved["run_dir"]
    if command in ("train", "all"):
        assert resolved["model"]["context"] == resolved["data"]["max_tokens"]
    if command == "all":
        assert resolved["generate"]["seed"] == resolved["seed"]
        assert resolved["generate"]["temperature"] == resolved["generate"]["sampling"]["temperature"]


@pytest.mark.parametrize(("group", "name"), [choice for choice in CHOICES if choice[0] in GROUPS_OF_TRAIN])
def test_every_choice_of_a_training_can_be_made(composed, tmp_path, group, name):
    overrides = [f"{group}={name}", *(["data.root=songs"] if name == "folder" else [])]
    overrides += ["tokenizer=voice_grid"] if (group, name) == ("model", "frames") else []
    if group == "accelerator":
        config = composed("train", *overrides)
        assert config.trainer.accelerator == name
        if name not in ("auto", "cpu"):
            return  # this machine may have none
    else:
        config = composed("train", *overrides, "accelerator=cpu")
    tokenizer = build_tokenizer(config.tokenizer)
    model = build_model(
        plain(config.model), SimpleNamespace(vocab_size=40) if isinstance(tokenizer, NoteCodec) else tokenizer
    )
    assert isinstance(model, SequenceModel)
    optimizer = instantiate(config.optimizer)([{"params": list(model.parameters())}])
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert 0 < instantiate(config.schedule)(100)(50) <= 1
    assert 0 < config.finetune.lr < config.optimizer.lr
    if (group, name) == ("trainer", "fsdp"):
        with pytest.raises(UserError, match="needs NVIDIA GPUs; on this machine use trainer=ddp"):
            check_device(config)
        config.trainer.strategy = "auto"
    trainer = build_trainer(config)
    assert trainer.max_epochs == config.trainer.max_epochs
    assert trainer.checkpoint_callback.monitor == ("val/loss" if name == "vae_chorales" else "val/nats_per_note")
    made = {type(item).__name__ for item in trainer.loggers}
    expected = {"csv": {"CSVLogger"}, "tensorboard": {"TensorBoardLogger"}, "wandb": {"WandbLogger"}}
    assert made == (expected[name] if group == "logger" else {"CSVLogger", "TensorBoardLogger"})
    if group == "tokenizer":
        assert isinstance(tokenizer, NoteCodec) if name == "notes" else tokenizer.vocab_size >= 50
        assert isinstance(composed("prepare", f"tokenizer={name}"), DictConfig)
    if group == "data":
        assert build_datamodule(config).corpus_name == ("songs" if name == "folder" else name)


def test_wandb_writes_here_and_offline(composed, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = instantiate(composed("train", "logger=wandb").logger.wandb)
    try:
        assert logger.experiment.settings._offline
        logger.log_metrics({"loss": 1.0}, step=0)
    finally:
        logger.experiment.finish()
    assert list(tmp_path.glob("wandb/offline-run-*"))


@pytest.mark.parametrize(("group", "name"), [choice for choice in CHOICES if choice[0] in GROUPS_OF_GENERATE])
def test_every_choice_of_a_composition_can_be_made(composed, group, name):
    for command, prefix in (("generate", ""), ("all", "generate.")):
        config = composed(command, f"{group}@{prefix}{group}={name}" if prefix else f"{group}={name}")
        config = config.generate if prefix else config
        assert isinstance(build_style(plain(config.style)), Style)
        Sampling(config.temperature, config.top_k, config.top_p)
        if group == "style":
            assert config.style._target_.rsplit(".", 1)[1].lower() == name
        else:
            assert config.temperature == OmegaConf.load(conf_dir() / "sampling" / f"{name}.yaml").temperature


def test_configs_of_ones_own(tmp_path):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "experiment").mkdir()
    (tmp_path / "mine" / "model" / "slim.yaml").write_text("defaults: [transformer]\nd_model: 24\n")
    (tmp_path / "mine" / "experiment" / "quick.yaml").write_text("# @package _global_\ntrainer: {max_epochs: 1}\n")
    write_folder(tmp_path / "my_midis", 4)
    own = ("--config-dir", "mine", "model=slim", "experiment=quick")
    done = run_command(tmp_path, "train", "my_midis", *own, "accelerator=cpu", "trainer.limit_train_batches=1")
    assert done.code == 0, done
    (checkpoint,) = tmp_path.glob("outputs/train/*/checkpoints/best.ckpt")
    card = read_checkpoint(checkpoint)["midifactory"]
    assert card["model"]["d_model"] == 24
    assert card["model"]["heads"] == 4


def test_the_wheel_is_told_to_carry_the_configs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"conf": "midifactory/conf"}
    assert wheel["packages"] == ["src/midifactory", "src/hydra_plugins"]
    assert "/conf" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert project["project"]["scripts"]["midifactory"] == "midifactory.cli.main:main"


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("hatchling"), reason="hatchling is not installed")
def test_a_built_wheel_holds_the_configs(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"midifactory/conf/{path.as_posix()}.yaml" for path in FILES} <= names
    assert "midifactory/music/bach_chorales.csv" in names
    assert "hydra_plugins/midifactory_sweeper/sweeper.py" in names
    assert "hydra_plugins/__init__.py" not in names  # the package is shared with other plugins
    rendered = (ROOT / "src" / "midifactory" / "render").iterdir()
    assert {f"midifactory/render/{path.name}" for path in rendered if path.suffix in (".j2", ".css", ".js")} <= names
    box = [path.relative_to(box_dir()).as_posix() for path in box_dir().rglob("*") if path.is_file()]
    assert {f"midifactory/box/{path}" for path in box} <= names
    page = [path for path in (ROOT / "src/midifactory/serve/studio").rglob("*") if path.is_file()]
    assert page
    assert {path.relative_to(ROOT / "src").as_posix() for path in page} <= names


def test_an_experiment_also_sets_what_all_generates() -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("all", ["experiment=demo"])
        assert (config.generate.num_samples, config.generate.bars, config.generate.seed) == (8, 8, 1)
        overridden = compose("all", ["experiment=demo", "generate.num_samples=2", "style@generate.style=melody"])
    assert overridden.generate.num_samples == 2
    assert overridden.generate.style._target_.endswith("Melody")
