"""The two sets that `evaluate` compares: samples, composed or read from any folder, and excerpts of held-out pieces."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from symusic import Score
from tqdm import tqdm

from midifactory import files
from midifactory.errors import UserError
from midifactory.generation.guide import Length
from midifactory.generation.lawfulness import unlawful_share
from midifactory.generation.pieces import compose, opening_of_style
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free
from midifactory.generation.wishes import bind_range, parse_wishes
from midifactory.models.interface import Conditions
from midifactory.models.vae import VAE
from midifactory.music.corpora import Piece
from midifactory.music.scan import MIDI_SUFFIXES, midi_files, printable
from midifactory.music.score import Limits, UnreadableMidi, bar_count, first_bars, load_score, save_score
from midifactory.training.checkpoint import Trained

_RECORD = "samples.json"


@dataclass(frozen=True)
class SampleSet:
    """Pieces by name, at most `max_bars` long, and the files that hold none, with the reason.

    invalid_tokens_share: of what the model that composed them would have said without its grammar; None for others.
    """

    names: tuple[str, ...]
    scores: tuple[Score, ...]
    left_out: tuple[tuple[str, str], ...]
    invalid_tokens_share: float | None = None


def held_out_excerpts(pieces: Sequence[Piece], max_bars: int, limits: Limits | None) -> SampleSet:
    """The beginnings of held-out pieces, up to `max_bars` bars of each."""
    names, scores = [], []
    for piece in tqdm(pieces, desc="held-out pieces", unit="piece"):
        score = first_bars(load_score(piece.path, limits), max_bars)
        if score.note_num():
            names.append(piece.id)
            scores.append(score)
    return SampleSet(tuple(names), tuple(scores), ())


def files_of(text: str) -> list[tuple[str, Path]]:
    """The MIDI files below the folder that `samples` names, by their paths in it. Raises UserError where none is."""
    folder = Path(text).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"samples={text} {what}; give a folder of MIDI files, or how many pieces to compose")
    found = midi_files(folder)
    if not found:
        raise UserError(f"samples={text} holds no {', '.join(MIDI_SUFFIXES)} files; name a folder that does")
    return found


def read_folder(text: str, max_bars: int) -> SampleSet:
    """The beginnings of all MIDI files below a folder. Raises UserError where there is none that can be read."""
    return _read(files_of(text), max_bars, f"samples={text}")


def _read(paths: Sequence[tuple[str, Path]], max_bars: int, setting: str) -> SampleSet:
    names, scores, left_out = [], [], []
    for name, path in tqdm(paths, desc="samples", unit="file"):
        try:
            score = first_bars(load_score(path), max_bars)
        except UnreadableMidi as error:
            left_out.append((printable(name), printable(str(error))))
            continue
        if score.note_num():
            names.append(printable(name))
            scores.append(score)
        else:
            left_out.append((printable(name), f"no notes in its first {max_bars} bars"))
    if not scores:
        name, reason = left_out[0]
        raise UserError(
            f"{setting}: none of its {len(left_out)} MIDI files can be used (the first, {name}: {reason}); give others"
        )
    return SampleSet(tuple(names), tuple(scores), tuple(left_out))


def compose_samples(trained: Trained, excerpts: SampleSet, config: DictConfig, folder: Path) -> SampleSet:
    """`config.samples` pieces, each as long as an excerpt, written to `folder`; what lies there is not composed again.

    Excerpts are drawn by seed, none twice before all were. Pieces are composed `config.at_once` at a time, the longest
    first; each such batch is written when it is whole, so that an interrupted run that is started again in the same
    folder with the same settings goes on after the last one.
    """
    generator = np.random.default_rng(config.seed)
    rounds = -(-config.samples // len(excerpts.scores))
    drawn = np.concatenate([generator.permutation(len(excerpts.scores)) for _ in range(rounds)])[: config.samples]
    lengths = [_length_of(trained, excerpts.scores[index]) for index in drawn]
    sizes = [(length.bars or length.tokens or 0) for length in lengths]
    order = sorted(range(len(sizes)), key=lambda place: -sizes[place])
    sampling = Sampling(config.temperature, config.top_k, config.top_p, config.min_p, config.typical_p)
    stamp = _stamp(trained, [asdict(length) for length in lengths], asdict(sampling), config.at_once, config.seed)
    done = _composed(folder, stamp)
    with tqdm(desc=f"compose {len(lengths)} pieces", unit="token") as bar:
        for batch, start in enumerate(range(0, len(order), config.at_once)):
            places = order[start : start + config.at_once]
            if all(f"{place + 1:04d}.mid" in done for place in places):
                continue
            seed = int(np.random.SeedSequence([config.seed, batch]).generate_state(1)[0])
            pieces = _compose_batch(trained, [lengths[place] for place in places], sampling, seed, bar.update)
            for place, (score, share) in zip(places, pieces, strict=True):
                name = f"{place + 1:04d}.mid"
                save_score(score, folder / name)
                done[name] = {"invalid_tokens_share": share, "notes": score.note_num()}
            record = {"settings": stamp, "pieces": done}
            files.write_text(folder / _RECORD, json.dumps(record, indent=1))
    names = sorted(done)
    silent = tuple((name, "no notes") for name in names if not done[name]["notes"])
    if len(silent) == len(names):
        raise UserError(f"samples={config.samples}: the model composed no note; train it for longer")
    # Read again from the files: what others find in this folder is what is measured here.
    found = _read([(name, folder / name) for name in names if done[name]["notes"]], config.max_bars, str(folder))
    shares = [done[name]["invalid_tokens_share"] for name in names]
    share = float(np.mean(shares)) if None not in shares else None
    return SampleSet(found.names, found.scores, silent + found.left_out, share)


def _length_of(trained: Trained, score: Score) -> Length:
    """As many bars; tokens where bars cannot be counted while composing."""
    if trained.tokenizer.monotonic:
        return Length(bars=max(1, bar_count(score)))
    return Length(tokens=len(trained.tokenizer.to_model_ids(trained.tokenizer.encode(score).ids)))


def _compose_batch(
    trained: Trained, lengths: Sequence[Length], sampling: Sampling, seed: int, on_step: Any
) -> list[tuple[Score, float | None]]:
    """A piece of each length, and the share of invalid tokens where it can be told."""
    tokenizer = trained.tokenizer
    wishes = bind_range(parse_wishes(trained.profile, None, None, None, None), None, tokenizer)
    untold = None
    if trained.conditions is not None:
        untold = Conditions(torch.from_numpy(trained.conditions.encode_wish({})).repeat(len(lengths), 1))
    pieces = compose(
        trained,
        opening_of_style(Free(), wishes, tokenizer),
        wishes,
        lengths,
        sampling,
        len(lengths),
        seed,
        on_step=on_step,
        conditions=untold,
    )
    if not tokenizer.has_grammar or isinstance(trained.model, VAE):
        return [(piece.score, None) for piece in pieces]
    device = next(trained.model.parameters()).device
    told = Conditions(untold.labels[:1].to(device)) if untold is not None and untold.labels is not None else None
    return [
        (piece.score, unlawful_share(trained.model, tokenizer, piece.ids, trained.window, told)) for piece in pieces
    ]


def _stamp(trained: Trained, *settings: Any) -> str:
    """Of all that decides what is composed."""
    return hashlib.sha256(json.dumps([trained.sha256, *settings]).encode()).hexdigest()


def _composed(folder: Path, stamp: str) -> dict[str, dict[str, Any]]:
    """What an earlier run with the same settings has left in `folder`, by file name."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if record.get("settings") != stamp:
        return {}
    return {name: found for name, found in record["pieces"].items() if (folder / name).is_file()}
