"""Going on with an interrupted run: under its own settings, in its own folder."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from midifactory import files
from midifactory.cli.building import plain
from midifactory.cli.runs import run_to_resume, stored_overrides
from midifactory.errors import UserError
from midifactory.training.checkpoint_folder import read_weights, verify
from midifactory.training.module import SequenceTraining

# Where Hydra writes what a resuming command was typed, until it is known to fit.
RESUMING = ".hydra/resuming"
# What a checkpoint's weights and optimiser state are of.
_FIXED = ("model", "tokenizer", "conditions", "optimizer", "init_from", "finetune")


def resumed_arguments(argv: list[str]) -> list[str]:
    """With `resume=...`, the resumed run's own arguments and folder, then what was typed now on top."""
    resuming = f"hydra.output_subdir={RESUMING}"
    if resuming in argv:  # a further process of the training, started with what this function gave the first
        return argv
    for argument in argv:
        match = re.fullmatch(r"(?:--)?resume=(.+)", argument)
        if not match or match[1] == "null":
            continue
        if "-m" in argv or "--multirun" in argv:
            raise UserError(f"resume={match[1]} continues one run and cannot be part of a sweep; leave out -m")
        typed = [other for other in argv if other is not argument]
        keys = {other.split("=", 1)[0].lstrip("+-") for other in typed}
        if keys & {"init_from", "init-from"}:
            raise UserError(f"resume={match[1]} continues a run, init_from starts one; leave one of them out")
        folder, checkpoint = run_to_resume(match[1].strip("'\""))
        kept = [old for old in stored_overrides(folder) if old.split("=", 1)[0].lstrip("+") not in keys | {"resume"}]
        place = [f"resume={checkpoint.resolve()}", f"hydra.run.dir='{folder.resolve()}'"]
        # Hydra records what was typed before we can judge it; `keep_settings` makes it the run's own.
        return [*kept, *typed, *place, resuming]
    return argv


def check_resume(config: DictConfig) -> None:
    """Raise UserError where the run to be resumed began with other settings, or its checkpoint is damaged."""
    verify(config.resume)
    began: Any = OmegaConf.load(Path(config.run_dir) / ".hydra" / "config.yaml")
    for group in _FIXED:
        before = dict(_settings(group, began.get(group)))
        for key, value in _settings(group, config.get(group)):
            if key in before and before[key] != value:
                raise UserError(
                    f"resume={config.resume}: {key} is {before[key]} in this checkpoint, {value} is asked for; "
                    f"leave out {key}=..., or start anew without resume"
                )


def _settings(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything below `value`, resolved."""
    value = plain(value) if OmegaConf.is_config(value) else value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _settings(f"{key}.{name}", inner)
    else:
        yield key, value


def check_weights(path: str, module: SequenceTraining) -> None:
    """Raise UserError where the checkpoint to be resumed is of other tokens, labels or weights than `module`."""
    card, weights, _ = read_weights(path)
    for key in ("tokenizer", "conditions"):
        if card.get(key) != module.card[key]:
            raise UserError(f"resume={path}: this checkpoint has another {key}; start anew without resume")
    stored = {name: value.shape for name, value in weights.items()}
    own = {name: value.shape for name, value in module.state_dict().items()}
    if stored != own:
        differing = sorted(name for name, _ in stored.items() ^ own.items())
        raise UserError(
            f"resume={path}: this checkpoint is of another model ({differing[0]} differs); start anew without resume"
        )


def keep_settings(run_dir: Path) -> None:
    """Make what a resumed run was started with its settings for the next resume, and keep its figures so far.

    Lightning's CSVLogger begins by deleting metrics.csv; the earlier part stays as metrics_1.csv, metrics_2.csv, ...
    """
    for path in sorted((run_dir / RESUMING).glob("*.yaml")):
        files.write_bytes(run_dir / ".hydra" / path.name, path.read_bytes())
    metrics = run_dir / "csv" / "metrics.csv"
    if metrics.is_file():
        metrics.replace(metrics.with_name(f"metrics_{len(list(metrics.parent.glob('metrics_*.csv'))) + 1}.csv"))
