"""`midifactory obedience`: a model is asked for attributes, and its music is measured by the functions of training."""

import difflib
import json
import math
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from tqdm import tqdm

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import default_device, plain
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.data.conditions import ConditionCodec, Label, Number, as_number
from midifactory.errors import UserError
from midifactory.evaluation.obedience import obeyed_numbers, obeyed_words, row_figure, table_lines
from midifactory.generation.guide import Length
from midifactory.generation.pieces import compose, opening_of_style
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free
from midifactory.generation.wishes import bind_range, parse_wishes
from midifactory.models.interface import Conditions
from midifactory.music.attributes import NAMES, UNITS, attributes_of
from midifactory.render.obedience import save_obedience_plot
from midifactory.training.checkpoint import Trained, load_trained

_EXTENTS = ("bars", "seconds")  # the model itself must end there
_DEFAULT_BARS = 8
_LONGER = 1.5  # than the longest that is asked: where a piece is cut that the model does not end


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("obedience", run, sys.argv[1:] if argv is None else argv)


def run(config: DictConfig) -> dict[str, dict[str, Any]]:
    """Ask for each attribute alone; print a table, write obedience.json after each, and obedience.png.

    Returns by attribute what was asked, what was measured, and how well that agrees. Raises UserError for a model that
    was told no attributes, and for one that it does not know.
    """
    check_numbers(config)
    sampling = Sampling(config.temperature, config.top_k, config.top_p, config.min_p, config.typical_p)
    path = checkpoint_in(config.checkpoint) if config.checkpoint else newest_checkpoint()
    trained = load_trained(path, default_device(config.device, "device"))
    names = asked_attributes(trained, plain(config.attributes))
    folder, rows = Path(config.run_dir), dict[str, dict[str, Any]]()
    for name in names:
        rows[name] = ask(trained, name, config, sampling)
        record = {
            "midifactory": metadata.version("midifactory"),
            "checkpoint": str(path.resolve()),
            "checkpoint_sha256": trained.sha256,
            "settings": {key: value for key, value in plain(config).items() if key not in ("sampling", "run_dir")},
            "attributes": rows,
        }
        files.write_text(folder / "obedience.json", json.dumps(_finite(record), ensure_ascii=False, indent=1))
    print("\n".join(table_lines(rows)))
    drawn = {name: row | {"figure": row_figure(row)} for name, row in rows.items()}
    save_obedience_plot(drawn, folder / "obedience.png", f"Asked and measured, {config.samples} pieces each")
    for kind in ("json", "png"):
        print(f"  {kind}  {(folder / f'obedience.{kind}').resolve()}")
    return rows


def check_numbers(config: DictConfig) -> None:
    """Raise UserError for what cannot be asked."""
    for name, least in (("samples", 2), ("at_once", 1), ("bars", 1), ("seed", 0), ("top_k", 0)):
        value = config[name]
        if (name != "bars" or value is not None) and (type(value) is not int or value < least):
            raise UserError(f"{name}={value}: give a whole number of at least {least}")
    for name in ("guidance", "temperature", "top_p", "min_p", "typical_p"):
        if type(config[name]) not in (int, float) or not 0 <= config[name] < math.inf:
            raise UserError(f"{name}={config[name]}: give a number of at least 0")


def asked_attributes(trained: Trained, asked: Any) -> list[str]:
    """Those of `asked` (None: all) that the model was told and that music can be measured for. Raises UserError."""
    how = 'train one: python train.py "conditions=[density,polyphony,mean_pitch,note_length,key]"'
    codec = trained.conditions or ConditionCodec(())
    known = [
        field.name
        for field in codec.fields
        if field.name in NAMES and (isinstance(field, Label) or field.unit == UNITS[field.name])
    ]
    if not known:
        raise UserError(f"checkpoint={trained.path}: this model was not trained for attributes; {how}")
    if asked is None:
        return known
    names = [asked] if isinstance(asked, str) else asked
    for name in names if isinstance(names, list) else [names]:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
            raise UserError(f"attributes={name}: this model was trained with {', '.join(known)} (nearest: {near})")
    return list(dict.fromkeys(names))


def ask(trained: Trained, name: str, config: DictConfig, sampling: Sampling) -> dict[str, Any]:
    """`config.samples` pieces, each asked for a value of the attribute and for nothing else, and what they measure."""
    assert trained.conditions is not None
    field = trained.conditions.fields[trained.conditions.names.index(name)]
    asked = asked_values(field, config.samples)
    labels = np.stack([trained.conditions.encode_wish({name: value}) for value in asked])  # (N, C)
    wishes = bind_range(parse_wishes(trained.profile, None, None, None, None), None, trained.tokenizer)
    with tqdm(desc=f"{name}, {len(asked)} pieces", unit="token") as bar:
        pieces = compose(
            trained,
            opening_of_style(Free(), wishes, trained.tokenizer),
            wishes,
            length_of(trained, field, config.bars),
            sampling,
            len(asked),
            config.seed,
            on_step=bar.update,
            conditions=Conditions(torch.from_numpy(labels)),
            guidance=config.guidance,
            at_once=config.at_once,
        )
    measured = [attributes_of(piece.score)[name] for piece in pieces]
    found = obeyed_words(asked, measured) if isinstance(field, Label) else obeyed_numbers(asked, measured, config.seed)
    return {"unit": UNITS.get(name, ""), **found, "asked": asked, "measured": measured}


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


def length_of(trained: Trained, field: Label | Number, bars: int | None) -> Length:
    """How long a piece may become: as long as a segment of training where it was counted in bars, unless `bars` says.

    Where a length itself is asked for, the model must end the piece.
    """
    if isinstance(field, Number) and field.name in _EXTENTS:
        most = math.ceil(_LONGER * field.highest)
        return Length(bars=most, or_end=True) if field.name == "bars" else Length(seconds=most, or_end=True)
    if bars is None:
        segment = trained.segment
        bars = max(1, round(segment["length"])) if segment.get("unit") == "bars" else _DEFAULT_BARS
    return Length(bars=bars)


def _finite(value: Any) -> Any:
    """`value` with null for what JSON cannot say."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
