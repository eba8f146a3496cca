"""`midifactory attention`: where a trained transformer looks while it reads a MIDI file, in pictures and on a page."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from symusic import Score

from midifactory.cli import hydra_app
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.errors import UserError
from midifactory.music.score import UnreadableMidi, bar_starts, load_score
from midifactory.render.attention import Attention, save_maps, save_page, save_rolls
from midifactory.tokens.note_tokens import model_pairs, note_tokens
from midifactory.tokens.tokenizer import Encoding, Tokenizer
from midifactory.training.checkpoint import Trained, load_trained


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("attention", draw, sys.argv[1:] if argv is None else argv)


def draw(config: DictConfig) -> Path:
    """Write attention.html, piano_rolls.png and a PNG for each layer into the run's folder. Returns the page."""
    for name, value in (("start_bar", config.start_bar), ("bars", config.bars), ("tokens", config.tokens)):
        if not (isinstance(value, int) and value > 0) and not (value is None and name != "start_bar"):
            raise UserError(f"{name}={value}: give a whole number of at least 1")
    score = read_file(config.prompt)
    trained = load_trained(checkpoint_in(config.checkpoint) if config.checkpoint else newest_checkpoint())
    attention = read(trained, score, config.start_bar, config.bars, config.tokens)
    layers, heads = attention.weights.shape[:2]
    last_bar = attention.first_bar + len(attention.bar_beats) - 1
    subtitle = (
        f"bars {attention.first_bar} to {last_bar}: {len(attention.pitch)} notes, {len(attention.tokens)} tokens; "
        f"{layers} layers of {heads} heads, {trained.path}"
    )
    folder = Path(config.run_dir)
    page = folder / "attention.html"
    save_page(page, attention, Path(config.prompt).name, subtitle)
    save_rolls(folder / "piano_rolls.png", attention)
    for layer in range(layers):
        save_maps(folder / f"layer_{layer + 1:02d}.png", attention, layer)
    print(subtitle)
    print(f"page         {page.resolve()}")
    print(f"piano rolls  {(folder / 'piano_rolls.png').resolve()}")
    print(f"maps         {(folder / 'layer_01.png').resolve()}" + (f" to layer_{layers:02d}.png" if layers > 1 else ""))
    return page


def read_file(path: str | None) -> Score:
    """The Score of the file that was named. Raises UserError where there is none, or no note in it."""
    if path is None:
        raise UserError("attention needs a MIDI file to read; type: midifactory attention FILE.mid")
    if not Path(path).expanduser().is_file():
        raise UserError(f"prompt={path}: no such file; give the path of a .mid file")
    try:
        return load_score(Path(path).expanduser())
    except UnreadableMidi as error:
        raise UserError(f"prompt={path}: {error}; give another MIDI file") from error


def read(
    trained: Trained, score: Score, start_bar: int = 1, bars: int | None = None, most: int | None = None
) -> Attention:
    """Let the model read the Score from `start_bar` (from 1): `bars` bars, or as much as fits into its window.

    most: at most so many tokens. Raises UserError for a model or tokens without attention maps, and where the bars
    asked for are not there, hold no note or do not fit.
    """
    model: Any = trained.model
    tokenizer = trained.tokenizer
    if not hasattr(model, "attention_maps") or not isinstance(tokenizer, Tokenizer):
        raise UserError(
            f"checkpoint={trained.path}: {type(model).__name__} has no attention maps; train with model=transformer "
            "or another transformer that reads tokens"
        )
    encoding = tokenizer.encode(score)
    window = min(trained.window, model.context or trained.window)
    groups = _groups(encoding, tokenizer, start_bar, bars, min(window, most or window))
    first = 0 if groups.start == 0 else int(encoding.group_token[groups.start])
    last = len(encoding.ids) if groups.stop == len(encoding.group_token) else int(encoding.group_token[groups.stop])
    ids = tokenizer.to_model_ids(encoding.ids[first:last])
    parts = [tokenizer.to_base_ids([i]) for i in ids]
    notes = note_tokens(tokenizer, encoding.ids)
    kept = np.flatnonzero((notes.begins >= first) & (notes.begins < last))
    if not len(kept):
        raise UserError(f"start_bar={start_bar}: no note begins in these bars; take more bars")
    token, note = model_pairs(tokenizer, ids, notes, first)
    inside = np.isin(note, kept)
    starts = bar_starts(score) / score.ticks_per_quarter
    bar = encoding.group_bar[groups.start : groups.stop]
    return Attention(
        weights=torch.cat(model.attention_maps(torch.from_numpy(ids)[None])).float().numpy(),
        tokens=["+".join(tokenizer.tokens[i] for i in part) for part in parts],
        onset_beats=notes.onset_beats[kept],
        duration_beats=notes.duration_beats[kept],
        pitch=notes.pitch[kept],
        program=notes.program[kept],
        token=token[inside],
        note=np.searchsorted(kept, note[inside]),
        bar_beats=starts[bar.min() : bar.max() + 1],
        first_bar=int(bar.min()) + 1,
    )


def _groups(encoding: Encoding, tokenizer: Tokenizer, start_bar: int, bars: int | None, limit: int) -> range:
    """The onset groups of the bars asked for, of at most `limit` model ids."""
    if not tokenizer.monotonic and (start_bar > 1 or bars is not None):
        raise UserError(
            f"start_bar={start_bar} bars={bars}: {tokenizer.scheme} writes one track after another, so bars are no "
            "span of tokens; leave both out"
        )
    count = len(encoding.group_token)
    first = int(np.argmax(encoding.group_bar >= start_bar - 1))
    if encoding.group_bar[first] < start_bar - 1:
        raise UserError(
            f"start_bar={start_bar}: the last note begins in bar {encoding.group_bar.max() + 1}; start there or before"
        )
    edges = np.append(encoding.group_token, len(encoding.ids))
    edges[0] = 0  # the first group brings BOS along, the last one EOS
    size, last = 0, first
    while last < count and (bars is None or encoding.group_bar[last] < start_bar - 1 + bars):
        size += len(tokenizer.to_model_ids(encoding.ids[edges[last] : edges[last + 1]]))
        if size > limit:
            break
        last += 1
    if size > limit and (bars is not None or last == first):
        fitting = int(encoding.group_bar[last]) - (start_bar - 1)
        remedy = f"take bars={fitting}" if fitting > 0 else "leave bars out" if last > first else "raise tokens"
        raise UserError(
            f"bars={bars} from bar {start_bar}: more tokens than {limit}, the least of the model's window and "
            f"tokens=...; {remedy}"
        )
    return range(first, last)
