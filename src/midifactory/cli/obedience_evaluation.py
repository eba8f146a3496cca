"""The part of `midifactory evaluate` that asks a model for the attributes that it was told."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from midifactory.cli.asking import refuse_untyped
from midifactory.cli.building import plain
from midifactory.cli.obedience import ask_all, asked_attributes, check_numbers, finite, rows_so_far
from midifactory.errors import UserError
from midifactory.training.checkpoint import Trained

# What `midifactory obedience` has under the same names.
_SHARED = (
    *("asked", "bars", "guidance", "at_once", "seed", "device", "generate"),
    *("temperature", "top_k", "top_p", "min_p", "typical_p"),
)


def check_settings(config: DictConfig) -> None:
    """Raise UserError for what cannot be asked."""
    count = config.obedience
    if type(count) is not int or count < 0 or count == 1:
        raise UserError(f"obedience={count}: give 0, or for how many pieces of each attribute to ask, at least 2")
    if count:
        asking = _asking(config)
        check_numbers(asking)
        if asking.asked == "command":
            refuse_untyped(asking)


def attributes_to_ask(config: DictConfig, trained: Trained | None) -> list[str]:
    """All that the model was told, none where it is not to be asked. Raises UserError for one that was told none."""
    if not config.obedience:
        return []
    if trained is None:
        raise UserError(
            f"obedience={config.obedience}: only a trained model of tokens can be asked; name one by checkpoint=..., "
            "or leave it out"
        )
    return asked_attributes(trained, None)


def evaluate_obedience(config: DictConfig, trained: Trained, names: list[str]) -> dict[str, Any]:
    """Obedience's part of evaluation.json; prints its table and writes obedience.json and obedience.png beside it.

    What an interrupted run has left in the folder is not asked again, if it asked the same model for the same.
    """
    asking, folder = _asking(config), Path(config.run_dir)
    settings = plain(asking)
    try:
        rows = rows_so_far(folder, settings, trained)
    except UserError:  # of other settings or another model
        rows = {}
    ask_all(trained, names, asking, settings, rows, folder)
    how = {"asked": asking.asked, "guidance": asking.guidance, "bars": asking.bars, "count": asking.samples}
    return {**how, "attributes": finite(rows)}


def _asking(config: DictConfig) -> DictConfig:
    """An evaluation's settings as those of `midifactory obedience`."""
    settings = plain(config)
    return OmegaConf.create({name: settings[name] for name in _SHARED} | {"samples": config.obedience})
