"""The part of `midifactory evaluate` that compares samples with the corpus."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from symusic import Score
from tqdm import tqdm

from midifactory.cli.arguments import quote
from midifactory.cli.building import default_device
from midifactory.cli.originality import find_originality
from midifactory.cli.runs import checkpoint_in
from midifactory.cli.sample_sets import SampleSet, compose_samples, files_of, held_out_excerpts, read_folder
from midifactory.data.datamodule import MidiDataModule
from midifactory.data.originality import index_training
from midifactory.errors import UserError
from midifactory.evaluation.embeddings import head_of, mean_hidden_states
from midifactory.evaluation.harmony_model import ChordModel
from midifactory.evaluation.metrics import measure, piece_chords
from midifactory.evaluation.samples import FRECHET, compare_sets, table_lines
from midifactory.models.interface import Conditions
from midifactory.models.vae import VAE
from midifactory.music.originality import Originality, OriginalityIndex, Report
from midifactory.music.score import first_bars, load_score
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.checkpoint import Trained, load_trained

_WHOLE = (("samples", 0), ("max_bars", 1), ("at_once", 1), ("chord_pieces", 1))


def quoted(argument: str) -> str:
    """`samples=FOLDER` with the folder as one literal string for Hydra, whatever its name holds; others as they are."""
    key, _, value = argument.partition("=")
    if key.lstrip("-") != "samples" or not names_folder(value) or value[0] in "'\"":
        return argument
    return f"samples={quote(value)}"


def names_folder(samples: str) -> bool:
    """Whether what was typed for `samples` is the name of a folder; a number, or several, counts pieces to compose."""
    return re.fullmatch(r"[-+\d.,]*|null|true|false", samples) is None


def check_settings(config: DictConfig) -> None:
    """Raise UserError for what cannot be asked."""
    for name, least in _WHOLE:
        value = config[name]
        if (name == "samples" and isinstance(value, str)) or (type(value) is int and value >= least):
            continue
        remedy = ", or a folder of MIDI files" if name == "samples" else ""
        raise UserError(f"{name}={value}: give a whole number of at least {least}{remedy}")
    if isinstance(config.samples, str):
        files_of(config.samples)  # before an hour of preparing
    if type(config.likelihood) is not bool:
        raise UserError(f"likelihood={config.likelihood}: give true or false")
    for name in ("temperature", "top_p", "min_p", "typical_p"):
        if type(config[name]) not in (int, float) or not 0 <= config[name] < math.inf:
            raise UserError(f"{name}={config[name]}: give a number of at least 0")


def evaluate_samples(config: DictConfig, trained: Trained | None, data: MidiDataModule | None) -> dict[str, Any] | None:
    """The samples' part of evaluation.json; None where nothing is to be composed, or nobody is there who could.

    The pieces are those of the folder `config.samples`, or as many as it says, composed into the run's folder. data:
    None for a model of note features, of which only likelihoods are measured.
    """
    if data is None:
        if config.samples:
            print(
                "no samples: of a model of note features, give a folder that it composed, samples=FOLDER, and data=..."
            )
        return None
    pieces = [piece for piece in data.corpus.of(config.split) if piece.id in data.store.pieces]
    if config.samples == 0 or (trained is None and not isinstance(config.samples, str)):
        return None
    corpus = held_out_excerpts(pieces, config.max_bars, data.limits)
    if isinstance(config.samples, str):
        samples, origin = read_folder(config.samples, config.max_bars), config.samples
    else:
        assert trained is not None
        samples, origin = compose_samples(trained, corpus, config, Path(config.run_dir) / "samples"), "model"
    originality = training_music(trained, data)
    copies = _copies(originality, data.tokenizer, samples, corpus)
    embedder = load_embedder(config, trained)
    embeddings = None
    if embedder is not None:
        embeddings = embed(embedder, samples.scores), embed(embedder, corpus.scores)
    both = [
        [measure(score) for score in tqdm(part.scores, desc=f"measure {what}", unit="piece")]
        for what, part in (("samples", samples), ("held-out pieces", corpus))
    ]
    found = compare_sets(both[0], both[1], chord_model(config, data), config.seed, copies, embeddings)
    rows = found.pop("pieces"), found.pop("corpus_pieces")
    return {
        "count": len(samples.names),
        "from": origin,
        "max_bars": config.max_bars,
        "corpus_count": len(corpus.names),
        "files": list(samples.names),
        "left_out": [{"file": name, "reason": reason} for name, reason in samples.left_out],
        "unreadable_share": len(samples.left_out) / (len(samples.left_out) + len(samples.names)),
        "invalid_tokens_share": samples.invalid_tokens_share,
        "originality": _longest_copy(samples, copies[0]) if copies else None,
        FRECHET: None
        if embedder is None
        else {"checkpoint": str(embedder.path.resolve()), "sha256": embedder.sha256, "window": embedder.window},
        **found,
        "pieces": [{"file": name, **row} for name, row in zip(samples.names, rows[0], strict=True)],
        "corpus_pieces": [{"piece": name, **row} for name, row in zip(corpus.names, rows[1], strict=True)],
    }


def chord_model(config: DictConfig, data: MidiDataModule) -> ChordModel:
    """Of the beginnings of training pieces, at most `config.chord_pieces`, evenly spaced."""
    pieces = [piece for piece in data.corpus.of("train") if piece.id in data.store.pieces]
    if len(pieces) > config.chord_pieces:
        pieces = [pieces[index] for index in np.linspace(0, len(pieces) - 1, config.chord_pieces).round().astype(int)]
    scores = (load_score(piece.path, data.limits) for piece in tqdm(pieces, desc="chords", unit="piece"))
    return ChordModel(piece_chords(first_bars(score, config.max_bars)) for score in scores)


def training_music(trained: Trained | None, data: MidiDataModule) -> Originality | None:
    """What the pieces may have been copied from: the model's training pieces, or without a model the corpus'."""
    if trained is not None:
        return find_originality(trained)
    training = data.pieces("train")
    if not training:
        return None
    return Originality([OriginalityIndex(index_training(data.store, training, data.progress))])


def _copies(
    originality: Originality | None, tokenizer: Tokenizer, samples: SampleSet, corpus: SampleSet
) -> tuple[list[Report], list[Report]] | None:
    if originality is None:
        return None
    reports = [
        [originality.of(_heard(score, tokenizer)) for score in tqdm(part.scores, desc="originality", unit="piece")]
        for part in (samples, corpus)
    ]
    return reports[0], reports[1]


def _heard(score: Score, tokenizer: Tokenizer) -> Score:
    """A Score as tokens tell it, as the training pieces are; as it is where they cannot."""
    try:
        return tokenizer.decode(tokenizer.to_model_ids(tokenizer.encode(score).ids))
    except UserError:
        return score


def _longest_copy(samples: SampleSet, reports: Sequence[Report]) -> dict[str, Any]:
    """The worst of the samples, by notes in any key."""
    name, report = max(
        zip(samples.names, reports, strict=True), key=lambda pair: pair[1].transposed.notes if pair[1].transposed else 0
    )
    return {"file": name, **report.to_dict()}


def load_embedder(config: DictConfig, trained: Trained | None) -> Trained | None:
    """The model whose hidden states are compared: that of `config.embedder`, or the one that is evaluated.

    None where there is none, or it has no hidden states of a piece. Raises UserError for an `embedder` without them.
    """
    named = config.embedder is not None
    chosen = load_trained(checkpoint_in(config.embedder), default_device(config.device, "device")) if named else trained
    if chosen is None or (head_of(chosen.model) is not None and not isinstance(chosen.model, VAE)):
        return chosen
    if named:
        raise UserError(f"embedder={config.embedder}: {type(chosen.model).__name__} embeds no pieces; take another one")
    return None


def embed(trained: Trained, scores: Sequence[Score]) -> np.ndarray:
    """(N, D) mean hidden states; nan for a piece that the tokens cannot tell."""
    tokenizer, told = trained.tokenizer, None
    if trained.conditions is not None:
        device = next(trained.model.parameters()).device
        told = Conditions(torch.from_numpy(trained.conditions.encode_wish({}))[None].to(device))
    rows: list[np.ndarray | None] = []
    for score in tqdm(scores, desc="embed", unit="piece"):
        try:
            ids = tokenizer.to_model_ids(tokenizer.encode(score).ids)
        except UserError:
            rows.append(None)
        else:
            rows.append(mean_hidden_states(trained.model, [ids], trained.window, told)[0])
    width = next((len(row) for row in rows if row is not None), 1)
    return np.array([np.full(width, np.nan) if row is None else row for row in rows])


def sample_lines(samples: dict[str, Any]) -> list[str]:
    """The table, and what it was made of."""
    where = "composed" if samples["from"] == "model" else f"of {samples['from']}"
    lines = [
        "",
        f"{samples['count']} samples {where} against {samples['corpus_count']} held-out pieces, up to "
        f"{samples['max_bars']} bars of each; distances of {samples['compared_pieces']} pieces each",
    ]
    if samples["left_out"]:
        first = samples["left_out"][0]
        lines.append(f"left out: {len(samples['left_out'])} (the first, {first['file']}: {first['reason']})")
    lines += table_lines(samples["metrics"])
    if samples["invalid_tokens_share"] is not None:
        lines.append(
            f"tokens that its grammar had to forbid: {samples['invalid_tokens_share']:.2%} of what it would say"
        )
    copy = samples["originality"]
    if copy and copy["transposed"] and copy["transposed"]["notes"]:
        longest = copy["transposed"]
        lines.append(
            f"longest copy: {longest['notes']} notes ({longest['beats']:.1f} beats) of {longest['piece']} in "
            f"{copy['file']}"
        )
    if FRECHET in samples["metrics"] and samples[FRECHET]:
        lines.append(f"{FRECHET}: mean hidden states of {samples[FRECHET]['checkpoint']}")
    return lines
