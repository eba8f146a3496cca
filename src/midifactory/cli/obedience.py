"""`midifactory obedience`: a model is asked for attributes, and its music is measured by the functions of training."""

import difflib
import json
import math
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.asking import HOW, told_pieces, typed_pieces
from midifactory.cli.building import default_device, plain
from midifactory.cli.resume import RESUMING, keep_settings
from midifactory.cli.runs import checkpoint_in, newest_checkpoint, stored_overrides
from midifactory.data.conditions import ConditionCodec, Label
from midifactory.errors import UserError
from midifactory.evaluation.obedience import obeyed_numbers, obeyed_words, row_figure, table_lines
from midifactory.music.attributes import NAMES, UNITS, attributes_of
from midifactory.render.obedience import save_obedience_plot
from midifactory.training.checkpoint import Trained, load_trained

# What does not change a figure.
_MAY_CHANGE = ("attributes", "device", "at_once", "checkpoint")


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    try:
        arguments = resumed_arguments(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        raise SystemExit(hydra_app.report(error)) from error
    hydra_app.run("obedience", run, arguments)


def resumed_arguments(argv: list[str]) -> list[str]:
    """With `resume=FOLDER`, that report's own arguments, model and folder, then what was typed now on top."""
    given = [argument for argument in argv if re.match(r"(--)?resume=(?!null$)", argument)]
    if not given:
        return argv
    text = given[-1].partition("=")[2].strip("'\"")
    folder = Path(text).expanduser()
    if not (folder / ".hydra" / "overrides.yaml").is_file():
        raise UserError(f"resume={text}: no report was begun there; give a folder below outputs/obedience")
    typed = [argument for argument in argv if argument not in given]
    keys = {argument.split("=", 1)[0] for argument in typed}
    kept = [old for old in stored_overrides(folder) if old.split("=", 1)[0] not in keys | {"resume", "checkpoint"}]
    begun = begun_report(folder)
    if begun is not None and "checkpoint" not in keys:  # a newer run may have come since
        kept.append(f"checkpoint={begun['checkpoint']}")
    place = [f"resume={folder.resolve()}", f"hydra.run.dir='{folder.resolve()}'", f"hydra.output_subdir={RESUMING}"]
    return [*kept, *typed, *place]


def begun_report(folder: Path) -> dict[str, Any] | None:
    """What obedience.json in a folder says so far. Raises UserError where it cannot be read."""
    path = folder / "obedience.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {name: record[name] for name in ("checkpoint", "checkpoint_sha256", "settings", "attributes")}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"resume={folder}: {path} is no report of midifactory obedience; start anew") from error


def rows_so_far(folder: Path, settings: dict[str, Any], trained: Trained) -> dict[str, dict[str, Any]]:
    """The attributes that an interrupted report has. Raises UserError where it asked otherwise, or another model."""
    begun = begun_report(folder)
    if begun is None:
        return {}
    then = _deciding(begun["settings"])
    for name, value in _deciding(settings).items():
        if (before := then.get(name)) != value:
            raise UserError(f"resume={folder}: {name} was {before} there, not {value}; leave it out, or start anew")
    if begun["checkpoint_sha256"] != trained.sha256:
        raise UserError(f"resume={folder}: the report is of another model than {trained.path}; start anew")
    return {name: {key: _not_finite(value) for key, value in row.items()} for name, row in begun["attributes"].items()}


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that figures hang on, those of generate under their own names."""
    flat = settings | {f"generate.{name}": value for name, value in settings.get("generate", {}).items()}
    return {
        name: value for name, value in flat.items() if name != "generate" and name.split(".")[-1] not in _MAY_CHANGE
    }


def run(config: DictConfig) -> dict[str, dict[str, Any]]:
    """Ask for each attribute alone; print a table, write obedience.json after each, and obedience.png.

    Returns by attribute what was asked, what was measured, and how well that agrees. Raises UserError for a model that
    was told no attributes, and for one that it does not know.
    """
    check_numbers(config)
    path = checkpoint_in(config.checkpoint) if config.checkpoint else newest_checkpoint()
    trained = load_trained(path, default_device(config.device, "device"))
    names = asked_attributes(trained, plain(config)["attributes"])
    folder = Path(config.run_dir)
    settings = {key: value for key, value in plain(config).items() if key not in ("sampling", "run_dir", "resume")}
    rows = dict[str, dict[str, Any]]()
    if config.resume is not None:
        rows = rows_so_far(folder, settings, trained)
        keep_settings(folder)
    ask_all(trained, names, config, settings, rows, folder)
    for kind in ("json", "png"):
        print(f"  {kind}  {(folder / f'obedience.{kind}').resolve()}")
    return rows


def ask_all(
    trained: Trained,
    names: Sequence[str],
    config: DictConfig,
    settings: dict[str, Any],
    rows: dict[str, dict[str, Any]],
    folder: Path,
) -> None:
    """Ask for each attribute that is not in `rows`, and add it; obedience.json after each, then a table and a picture.

    config: what is in conf/asking.yaml, and `samples`, `at_once` and `seed`; settings: what the file says of it.
    """
    for name in names:
        if name in rows:
            continue
        rows[name] = ask(trained, name, config)
        record = {
            "midifactory": metadata.version("midifactory"),
            "checkpoint": str(trained.path.resolve()),
            "checkpoint_sha256": trained.sha256,
            "asked": HOW[config.asked],
            "settings": settings,
            "attributes": rows,
        }
        files.write_text(folder / "obedience.json", json.dumps(finite(record), ensure_ascii=False, indent=1))
    print("\n".join([f"asked {HOW[config.asked]}", *table_lines(rows)]))
    drawn = {name: row | {"figure": row_figure(row)} for name, row in rows.items()}
    title = f"Asked ({HOW[config.asked]}) and measured, {config.samples} pieces each"
    save_obedience_plot(drawn, folder / "obedience.png", title)


def check_numbers(config: DictConfig) -> None:
    """Raise UserError for what cannot be asked."""
    if config.asked not in HOW:
        raise UserError(f"asked={config.asked}: give one of {', '.join(HOW)}")
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


def ask(trained: Trained, name: str, config: DictConfig) -> dict[str, Any]:
    """`config.samples` pieces, each asked for a value of the attribute, and what they measure."""
    assert trained.conditions is not None
    field = trained.conditions.fields[trained.conditions.names.index(name)]
    compose_all = typed_pieces if config.asked == "command" else told_pieces
    with tqdm(desc=f"{name}, {config.samples} pieces", unit="token") as bar:
        asked, pieces = compose_all(trained, field, config, bar)
    measured = [attributes_of(piece.score)[name] for piece in pieces]
    found = obeyed_words(asked, measured) if isinstance(field, Label) else obeyed_numbers(asked, measured, config.seed)
    return {"unit": UNITS.get(name, ""), **found, "asked": asked, "measured": measured}


def finite(value: Any) -> Any:
    """`value` with null for what JSON cannot say."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _not_finite(value: Any) -> Any:
    """A figure of a report as it was before `finite`."""
    return math.nan if value is None else value
