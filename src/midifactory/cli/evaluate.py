"""`midifactory evaluate`: how good a model is on music that its training did not see, and how sure that is."""

import difflib
import json
import math
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from midifactory import files
from midifactory.cli import hydra_app, obedience_evaluation, sample_evaluation
from midifactory.cli.arguments import quote, to_overrides
from midifactory.cli.building import build_datamodule, default_device, plain
from midifactory.cli.evaluate_notes import evaluate_note_model
from midifactory.cli.evaluation_report import write_report
from midifactory.cli.held_out import measure, told_of
from midifactory.cli.prepare import what_is_lost
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.cli.train import set_threads
from midifactory.data.datamodule import MidiDataModule
from midifactory.errors import UserError
from midifactory.evaluation.held_out import (
    HeldOutPiece,
    PieceNats,
    likelihood_report,
    notes_by_tenths,
    report_lines,
)
from midifactory.evaluation.likelihood import advance_of, unigram_nats
from midifactory.evaluation.ngram import ORDER, NGram
from midifactory.models.vae import VAE
from midifactory.music.corpora import SPLITS
from midifactory.music.score import duration_seconds, last_note_end, load_score
from midifactory.paths import conf_dir
from midifactory.training.checkpoint import Trained, load_trained
from midifactory.training.checkpoint_folder import read_card
from midifactory.training.finetune import Start
from midifactory.training.notes import holds_notes

BASELINES = ("5-gram", "unigram", "uniform")
# What of a run's data decides which pieces are in which split, and where they lie.
_OF_CORPUS = (
    *("root", "archive", "limit", "fractions", "seed", "duplicates", "near_duplicates", "group_by"),
    *("limits", "store_root", "cache_root"),
)
# What decides how its model reads any piece.
_OF_MODEL = ("segment", "max_tokens")


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    try:
        arguments = with_own_data(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        raise SystemExit(hydra_app.report(error)) from error
    hydra_app.run("evaluate", run, arguments)


def with_own_data(argv: list[str]) -> list[str]:
    """`argv` with the data of the checkpoint's own run in front, as far as nothing else is typed.

    Of another corpus only how pieces are cut is taken over. Values alone are taken from a checkpoint, never classes.
    """
    argv = [re.sub(r"\A(--)?model(=|\Z)", r"\1baseline\2", sample_evaluation.quoted(item)) for item in argv]
    overrides = [item for item in to_overrides("evaluate", argv) if not item.startswith("-")]
    typed = {item.partition("=")[0].lstrip("+~"): item.partition("=")[2] for item in overrides}
    root_alone = "data.root" in typed and "data" not in typed
    of_folder = ["data=folder", *argv] if root_alone else argv
    if "baseline" in typed or any(flag in argv for flag in ("-h", "--help", "-c", "--cfg", "--hydra-help")):
        return of_folder
    if "checkpoint" not in typed and sample_evaluation.names_folder(typed.get("samples", "")):
        if not {"data", "data.root"} & typed.keys():
            raise UserError(f"samples={typed['samples']}: name the music to compare it with, as data=maestro")
        return of_folder
    given = next((match[1] for item in argv if (match := re.fullmatch(r"(?:--)?checkpoint=(.+)", item))), "null")
    path = newest_checkpoint() if given == "null" else checkpoint_in(given.strip("'\""))
    card = read_card(path)
    stored, corpus = card.get("settings", {}).get("data"), str(card.get("corpus"))
    if not stored or "name" not in stored:
        if {"data", "data.root"} & typed.keys():
            return of_folder
        if re.fullmatch(r"\w+", corpus) and (conf_dir() / "data" / f"{corpus}.yaml").is_file():
            named = [f"data={corpus}", f"checkpoint={quote(str(path))}"]  # exported, so without its settings
            return [*named, *(item for item in argv if not re.match(r"(--)?checkpoint=", item))]
        raise UserError(f"checkpoint={path}: it does not say what it was trained on; name the music, as data=maestro")
    if root_alone and not _same_root(stored, typed):
        argv, typed = of_folder, typed | {"data": "folder"}
    keys = [*_OF_MODEL, *(_OF_CORPUS if _same_corpus(stored, typed) else ())]
    own = [f"data={stored['name']}", *_overrides_of("data", {key: stored[key] for key in keys if key in stored})]
    others = [item for item in argv if not re.match(r"(--)?checkpoint=", item)]
    return [*(item for item in own if item.partition("=")[0] not in typed), f"checkpoint={path}", *others]


def _same_corpus(stored: dict[str, Any], typed: dict[str, str]) -> bool:
    """Whether what is typed means the corpus of a run: it is then to be split as there, or its test would be known."""
    if typed.get("data", stored["name"]) != stored["name"]:
        return False
    return stored["name"] != "folder" or "data.root" not in typed or _same_root(stored, typed)


def _same_root(stored: dict[str, Any], typed: dict[str, str]) -> bool:
    """Whether the folder that is typed is that of a run, or the run did not say."""
    if not stored.get("root"):
        return True
    roots = (typed["data.root"].strip("'\""), stored["root"])
    return len({Path(root).expanduser().resolve() for root in roots}) == 1


def _overrides_of(key: str, value: Any) -> list[str]:
    """A value of a run's config as overrides, leaf by leaf; classes are left to our own configs."""
    if isinstance(value, dict):
        return [
            item
            for name, part in value.items()
            if not name.startswith("_")
            for item in _overrides_of(f"{key}.{name}", part)
        ]
    return [f"{key}={quote(value) if isinstance(value, str) else json.dumps(value)}"]


def run(config: DictConfig) -> dict[str, Any]:
    """Measure, print a table, write evaluation.json and its page. Returns what stands in the former.

    Raises UserError for what cannot be measured so.
    """
    check_settings(config)
    sample_evaluation.check_settings(config)
    obedience_evaluation.check_settings(config)
    set_threads(config.threads)
    path: Path | None = None
    trained: Trained | None = None
    data: MidiDataModule | None = None
    if config.baseline is None and (config.checkpoint or not isinstance(config.samples, str)):
        path = checkpoint_in(config.checkpoint) if config.checkpoint else newest_checkpoint()
    notes = path is not None and holds_notes(path)
    if path is not None and not notes:
        trained = load_trained(path, default_device(config.device, "device"))
    attributes = obedience_evaluation.attributes_to_ask(config, trained)
    if path is not None and notes:
        measured = evaluate_note_model(config, path)
    else:
        window = read_window(config.stride_tokens, trained, config.baseline)
        data = open_data(config, trained)
        likelihood: dict[str, Any] | None = None
        size = trained.model.parameters_count if trained else None
        if config.likelihood and (trained or config.baseline):
            found, size = measure_likelihood(config, trained, data)
            likelihood = window | found
        measured = described(config, trained, data, size) | {"likelihood": likelihood}
    record: dict[str, Any] = {
        "midifactory": metadata.version("midifactory"),
        **measured,
        "split": config.split,
        "seed": config.seed,
        "settings": {key: value for key, value in plain(config).items() if key not in ("run_dir", "generate")},
        "samples": None,
        "obedience": None,
    }
    report = Path(config.run_dir) / "evaluation.json"
    write_record(record, report)
    if record["likelihood"]:
        print("\n".join(summary_lines(record)), flush=True)
    record["samples"] = sample_evaluation.evaluate_samples(config, trained, data)
    if record["samples"]:
        write_record(record, report)
        print("\n".join(sample_evaluation.sample_lines(record["samples"])))
    if trained is not None and attributes:
        record["obedience"] = obedience_evaluation.evaluate_obedience(config, trained, attributes)
        write_record(record, report)
    print(f"  json  {report.resolve()}")
    print(f"  html  {write_report(record, report.parent).resolve()}")
    return record


def write_record(record: dict[str, Any], path: Path) -> None:
    """evaluation.json, whole or not at all."""
    files.write_text(path, json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False))


def described(config: DictConfig, trained: Trained | None, data: MidiDataModule, size: int | None) -> dict[str, Any]:
    """What was measured, and on what. size: parameters, or grams; None where there is no model."""
    return {
        "checkpoint": str(trained.path.resolve()) if trained else None,
        "checkpoint_sha256": trained.sha256 if trained else None,
        "model": type(trained.model).__name__ if trained else config.baseline,
        "parameters": size,
        "corpus": data.corpus_name,
        "tokenizer": {
            "name": data.tokenizer.scheme,
            "fingerprint": data.tokenizer.fingerprint,
            "vocabulary": data.tokenizer.vocab_size,
            "keeps": data.tokenizer.keeps,
        },
    }


def check_settings(config: DictConfig) -> None:
    """Raise UserError for what cannot be asked."""
    if config.split not in SPLITS:
        near = difflib.get_close_matches(str(config.split), SPLITS, n=1, cutoff=0.0)[0]
        raise UserError(f"split={config.split}: choose one of {', '.join(SPLITS)} (nearest: {near})")
    if config.baseline is not None and config.baseline not in BASELINES:
        raise UserError(
            f"model={config.baseline}: without a checkpoint only {', '.join(BASELINES)} can be measured; a trained "
            "model is named by checkpoint=..."
        )
    if config.baseline is not None and config.checkpoint is not None:
        raise UserError(f"model={config.baseline} checkpoint={config.checkpoint}: measure one of them; leave one out")
    for name, least in (("stride_tokens", 1), ("ngram_pieces", 1), ("seed", 0)):
        value = config[name]
        if (name == "seed" or value is not None) and (type(value) is not int or value < least):
            raise UserError(f"{name}={value}: give a whole number of at least {least}")
    if config.baseline is not None and config.stride_tokens is not None:
        raise UserError(f"stride_tokens={config.stride_tokens}: {config.baseline} has no window; leave it out")


def open_data(config: DictConfig, trained: Trained | None) -> MidiDataModule:
    """The corpus and its tokens, those of the checkpoint where there is one; what was prepared is only opened.

    Raises UserError where the split has no piece.
    """
    data = build_datamodule(config, Start(trained, trained.tokenizer, trained.model_config) if trained else None)
    if not isinstance(data, MidiDataModule):
        raise UserError("tokenizer=notes: an n-gram is of tokens; choose another tokenizer")
    data.prepare_data()
    if not data.pieces(config.split):
        there = ", ".join(f"{len(data.pieces(split))} {split}" for split in SPLITS)
        raise UserError(
            f"split={config.split}: {data.corpus_name} has none of its pieces there ({there}); choose another split, "
            "or set data.fractions"
        )
    return data


def measure_likelihood(config: DictConfig, trained: Trained | None, data: MidiDataModule) -> tuple[dict[str, Any], int]:
    """The likelihood's part of evaluation.json, and the size of what was measured: parameters, or grams."""
    pieces = held_out(data, config.split)
    training = training_ids(data, config.ngram_pieces)
    baselines, sizes = measure_baselines(pieces, training, data.tokenizer.vocab_size)
    if trained:
        told = told_of(trained, data, config.split)
        with tqdm(desc=type(trained.model).__name__, unit="token", total=sum(piece.tokens for piece in pieces)) as bar:
            ids = [(piece.id, piece.ids) for piece in pieces]
            nats = measure(trained.model, data, ids, trained.window, config.stride_tokens, told, bar.update)
    elif config.baseline in baselines:
        nats = baselines.pop(config.baseline)
    else:
        raise UserError(f"model={config.baseline}: {data.corpus_name} has no training pieces to learn from")
    lengths = data.tokenizer.summed_parts(np.ones(data.tokenizer.base_vocab_size, dtype=np.int64))
    report = likelihood_report(pieces, nats, baselines, data.tokenizer.model_types, lengths, config.seed)
    grams = {"ngram_pieces": len(training)} if training else {}
    dropped = {"dropped": what_is_dropped(data, config.split)}
    return grams | report | dropped, trained.model.parameters_count if trained else sizes[config.baseline]


def read_window(stride: int | None, trained: Trained | None, baseline: str | None) -> dict[str, Any]:
    """What the model sees at once, null for whole pieces. Raises UserError for a stride that cannot be."""
    if trained is None:
        tokens = {"5-gram": ORDER, "unigram": 1}.get(str(baseline), 0)
        return {"kind": "exact", "window_tokens": tokens, "stride_tokens": min(1, tokens)}
    model, latent = trained.model, isinstance(trained.model, VAE)
    if latent or model.context is None:
        if stride is not None:
            reads = "segments, each apart" if latent else "pieces whole"
            raise UserError(f"stride_tokens={stride}: {type(model).__name__} reads {reads}; leave it out")
        return {"kind": "bound" if latent else "exact", "window_tokens": None, "stride_tokens": None}
    window = min(trained.window, model.context)
    try:
        return {"kind": "exact", "window_tokens": window, "stride_tokens": advance_of(window, stride)}
    except ValueError as error:
        raise UserError(
            f"stride_tokens={stride}: {trained.path.name} reads {window} tokens at once; give 1 to {window}"
        ) from error


def held_out(data: MidiDataModule, split: str) -> list[HeldOutPiece]:
    """The pieces of a split, with the extents of their files."""
    kept = data.store.pieces
    pieces = []
    for piece in data.corpus.of(split):
        if piece.id in kept:
            stored, score = kept[piece.id], load_score(piece.path, data.limits)
            pieces.append(
                HeldOutPiece(
                    piece.id,
                    data.model_ids(piece.id),
                    stored.source_notes,
                    last_note_end(score) / score.ticks_per_quarter,
                    duration_seconds(score),
                    notes_by_tenths(data.store.groups(piece.id), stored.notes, stored.tokens),
                    piece.labels,
                )
            )
    return pieces


def training_ids(data: MidiDataModule, most: int | None) -> list[np.ndarray]:
    """The training pieces as the model reads them, at most so many, evenly spaced."""
    names = data.pieces("train")
    if most is not None and most < len(names):
        names = [names[index] for index in np.linspace(0, len(names) - 1, most).round().astype(int)]
    return [data.model_ids(piece) for piece in names]


def measure_baselines(
    pieces: Sequence[HeldOutPiece], training: Sequence[np.ndarray], vocab_size: int
) -> tuple[dict[str, list[PieceNats]], dict[str, int]]:
    """Nats of `pieces` under each baseline, and the size of each; without training pieces the uniform alone."""
    found = {"uniform": [PieceNats(np.full(piece.tokens, math.log(vocab_size))) for piece in pieces]}
    sizes = {"uniform": 0, "unigram": vocab_size}
    if training:
        each = unigram_nats(training, vocab_size)
        grams = NGram(training, vocab_size)
        sizes["5-gram"] = grams.size
        found["unigram"] = [PieceNats(each[piece.ids[1:]]) for piece in pieces]
        found["5-gram"] = [PieceNats(nats) for nats in grams.nats_of([piece.ids for piece in pieces])]
    return {name: found[name] for name in BASELINES if name in found}, sizes


def what_is_dropped(data: MidiDataModule, split: str) -> dict[str, float | None]:
    """What the tokens lose of the split's pieces (tokens/loss_report.py), of some where there are many."""
    kept = [piece for piece in data.corpus.of(split) if piece.id in data.store.pieces]
    report = what_is_lost(data, kept)
    return {name: value if math.isfinite(value) else None for name, value in report.items()}


def summary_lines(record: dict[str, Any]) -> list[str]:
    """What was measured, in a table for people."""
    likelihood, dropped = record["likelihood"], record["likelihood"]["dropped"]
    notes = sum(piece["notes"] for piece in likelihood["pieces"])
    what = "an upper bound of the nats" if likelihood["kind"] == "bound" else "nats"
    seen = "pieces read whole"
    if likelihood["kind"] == "bound":
        seen = "segments read apart"
    elif likelihood["window_tokens"] is not None:
        unit = "tokens" if dropped else "notes"
        seen = f"a window of {likelihood['window_tokens']} {unit}, advanced by {likelihood['stride_tokens']}"
    return [
        f"{record['corpus']}, {record['split']}: {len(likelihood['pieces'])} pieces, {notes:,} notes; "
        f"{record['model']}, {record['parameters']:,} {'parameters' if record['checkpoint'] else 'grams'}",
        f"{what}, {seen}; in brackets 95 % intervals over the pieces",
        *report_lines(likelihood, record["model"]),
        f"{record['tokenizer']['name']} keeps {', '.join(record['tokenizer']['keeps']) or 'pitches and onsets alone'}"
        + (dropped_line(dropped) if dropped else "; these nats are of note features, not to be compared with tokens'"),
    ]


def dropped_line(dropped: dict[str, float | None]) -> str:
    """What the tokens lose, as the end of a sentence."""
    return (
        f"; of {dropped['notes']:,.0f} notes {dropped['dropped_notes']:,.0f} are dropped, onsets move by "
        f"{dropped['onset_error_ms_mean'] or 0:.1f} ms, velocities by {dropped['velocity_error_mean'] or 0:.1f}"
    )
