"""How `midifactory obedience` asks for an attribute: as it is typed at generate, or told to the model alone."""

import json
import math
from itertools import groupby
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from midifactory.cli.building import plain
from midifactory.cli.generate import read_settings, token_pieces, training_pieces
from midifactory.data.conditions import Label, Number, as_number
from midifactory.errors import UserError
from midifactory.generation.asked import check_numbers, read_sampling
from midifactory.generation.guide import Length
from midifactory.generation.pieces import Composition, compose, opening_of_style
from midifactory.generation.styles import Free
from midifactory.generation.told import tell_numbers
from midifactory.generation.wishes import bind_range, parse_wishes
from midifactory.models.interface import Conditions
from midifactory.training.checkpoint import Trained

HOW = {"command": "as typed at generate: kept to, steered and told", "model": "only told to the model"}
_EXTENTS = ("bars", "seconds")
_DEFAULT_BARS = 8
_LONGER = 1.5  # than the longest that is asked: where a piece is cut that the model does not end
# A user types whole numbers of these.
_WHOLE = ("bars", "polyphony")
# So many numbers are typed, each for several pieces, which are then composed together.
_TYPED_VALUES = 20
# What would make the pieces others than those that are to be measured.
_NOT_TYPED = {
    **dict.fromkeys(("replay", "prompt", "prompt_bars", "prompt_notes", "bars", "seconds", "tokens")),
    **{"num_samples": 1, "int8": False},
}


def told_pieces(
    trained: Trained, field: Label | Number, config: DictConfig, progress: tqdm
) -> tuple[list[Any], list[Composition]]:
    """The values asked for, (N,), and a piece of each, of which the model was told this and nothing else."""
    assert trained.conditions is not None
    asked = asked_values(field, config.samples)
    labels = np.stack([trained.conditions.encode_wish({field.name: value}) for value in asked])  # (N, C)
    wishes = bind_range(parse_wishes(trained.profile, None, None, None, None), None, trained.tokenizer)
    pieces = compose(
        trained,
        opening_of_style(Free(), wishes, trained.tokenizer),
        wishes,
        told_length(trained, field, config.bars),
        read_sampling(plain(config.generate)),
        len(asked),
        config.seed,
        on_step=progress.update,
        conditions=Conditions(torch.from_numpy(labels)),
        guidance=config.guidance,
        at_once=config.at_once,
    )
    return asked, pieces


def typed_pieces(
    trained: Trained, field: Label | Number, config: DictConfig, progress: tqdm
) -> tuple[list[Any], list[Composition]]:
    """The values asked for, (N,), and a piece of each, as `generate NAME=VALUE` composes it.

    What stands in `config.generate` is asked for, too. Raises UserError for what generate would refuse.
    """
    refuse_untyped(config)
    usual = plain(config.generate)
    asked, pieces = typed_values(field, config.samples), list[Composition]()
    for number, (value, same) in enumerate(groupby(asked)):
        typed = {**usual, "num_samples": len(list(same)), "seed": config.seed + number}
        typed["bars"] = None if field.name == "seconds" else piece_bars(trained, config.bars)
        typed |= {"instruments": json.loads(value)} if field.name == "programs" else {field.name: value}
        try:
            settings = read_settings(OmegaConf.create(typed))
            check_numbers(settings)
            tell_numbers(settings, trained)
            if not settings["conditions"]:  # kept to alone
                settings["guidance"] = 1.0
            length = Length(settings["bars"], settings["seconds"], settings["tokens"])
            originality = training_pieces(trained, settings) if settings["max_copy_beats"] is not None else None
            sampling = read_sampling(settings)
            pieces += token_pieces(trained, settings, length, sampling, originality, progress=progress)
        except UserError as error:
            raise UserError(f"asking for {field.name}={value}: {error} (asked=model tells the model alone)") from error
    return asked, pieces


def refuse_untyped(config: DictConfig) -> None:
    """Raise UserError for what a report cannot ask for beside an attribute."""
    for name, usual in _NOT_TYPED.items():
        if config.generate[name] != usual:
            raise UserError(f"generate.{name}={config.generate[name]}: obedience asks for that itself; leave it out")


def asked_values(field: Label | Number, count: int) -> list[Any]:
    """`count` values to ask for: the same number of each label or of each range, spread over the range.

    Of the outer ranges as far as twice the width of the next one, since a few strange segments stretch them.
    """
    if isinstance(field, Label):
        return [field.values[index * len(field.values) // count] for index in range(count)]
    corners = [field.lowest, *field.edges, field.highest]
    if len(field.edges) > 1:
        edges = field.edges
        corners[0] = max(field.lowest, edges[0] - 2 * (edges[1] - edges[0]))
        corners[-1] = min(field.highest, edges[-1] + 2 * (edges[-1] - edges[-2]))
    places = (np.arange(count) + 0.5) / count * (len(corners) - 1)
    values = np.interp(places, np.arange(len(corners)), corners)
    if field.name == "bars":
        values = np.rint(values)
    return [min(max(as_number(value) or 0.0, field.lowest), field.highest) for value in values]


def typed_values(field: Label | Number, count: int) -> list[Any]:
    """`count` values as a user would type them, equal ones side by side: of numbers some twenty, or all whole ones."""
    if isinstance(field, Label):
        return asked_values(field, count)
    few = asked_values(field, min(count, _TYPED_VALUES))
    if field.name in _WHOLE:
        whole = sorted({max(1, round(value)) for value in few})
        few = [value for value in whole if field.shows(value)] or whole
    return [few[index * len(few) // count] for index in range(count)]


def told_length(trained: Trained, field: Label | Number, bars: int | None) -> Length:
    """How long a piece may become whose model is told an attribute: where that is a length, the model must end it."""
    if isinstance(field, Number) and field.name in _EXTENTS:
        most = math.ceil(_LONGER * field.highest)
        return Length(bars=most, or_end=True) if field.name == "bars" else Length(seconds=most, or_end=True)
    return Length(bars=piece_bars(trained, bars))


def piece_bars(trained: Trained, bars: int | None) -> int:
    """As long as a segment of training where it was counted in bars, unless `bars` says."""
    if bars is not None:
        return bars
    segment = trained.segment
    return max(1, round(segment["length"])) if segment.get("unit") == "bars" else _DEFAULT_BARS
