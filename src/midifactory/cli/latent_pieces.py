"""What `interpolate` and `vary` share: MIDI files become latents, latents become pieces on disk."""

import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from symusic import Score

from midifactory import files
from midifactory.cli.building import default_device
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.data.segments import segment_score
from midifactory.errors import UserError
from midifactory.generation.latent import LatentPiece, encode_segments, require_latent, takes_segments
from midifactory.generation.sampling import Sampling
from midifactory.music.score import UnreadableMidi, bar_count, duration_seconds, load_score, save_score
from midifactory.render.audio import save_wav
from midifactory.render.pianoroll import save_pianoroll
from midifactory.training.checkpoint import Trained, load_trained


def load_latent_model(config: DictConfig, command: str) -> Trained:
    """The checkpoint that the config names. Raises UserError where its model has no latent or its tokens no grammar."""
    check_plain_number(config, "seed", whole=True)
    path = checkpoint_in(config.checkpoint) if config.checkpoint else newest_checkpoint()
    trained = load_trained(path, default_device(config.device, "device"))
    require_latent(trained.model, command)
    if not takes_segments(trained.tokenizer):
        raise UserError(
            f"checkpoint={path}: {command} needs a REMI tokenizer without byte pairs or pitch intervals; this is "
            f"{trained.tokenizer.scheme} with {trained.tokenizer.vocab_size} ids, so train with tokenizer=remi_plus"
        )
    return trained


def check_plain_number(config: DictConfig, name: str, least: float = 0, whole: bool = False) -> None:
    """Raise UserError unless `config.name` is a number of at least `least`."""
    value = config[name]
    if type(value) not in ((int,) if whole else (int, float)) or not least <= value < float("inf"):
        raise UserError(f"{name}={value}: give a {'whole ' if whole else ''}number of at least {least:g}")


def read_sampling(config: DictConfig, top_k: int = 1) -> Sampling:
    """How tokens are drawn; greedily with top_k=1. top_k: what null means."""
    for name in ("temperature", "top_p"):
        check_plain_number(config, name)
    if config.top_k is not None:
        check_plain_number(config, "top_k", whole=True)
        top_k = config.top_k
    return Sampling(config.temperature, top_k, config.top_p)


def read_piece(trained: Trained, path: str | Path | None, key: str, command: str) -> LatentPiece:
    """The latents of a MIDI file. Raises UserError where there is none, or no note in it that the model knows."""
    if path is None:
        raise UserError(f"{command} needs a MIDI file; set {key}=FILE.mid")
    source = Path(path).expanduser()
    if not source.is_file():
        raise UserError(f"{key}={path}: no such file; give the path of a .mid file")
    try:
        score = load_score(source)
        segments = segment_score(score, trained.tokenizer, **trained.segment)
        heard = trained.tokenizer.decode(trained.tokenizer.to_model_ids(trained.tokenizer.encode(score).ids))
    except UnreadableMidi as error:
        raise UserError(f"{key}={path}: {error}; give another MIDI file") from error
    except UserError as error:
        raise UserError(f"{key}={path}: {error}") from error
    latents, _ = encode_segments(require_latent(trained.model, command), [segment.ids for segment in segments])
    return LatentPiece(latents, tuple(segment.bars for segment in segments), heard)


def midi_files(folder: str, key: str) -> list[Path]:
    """The MIDI files below a folder. Raises UserError where there are none."""
    paths = Path(folder).expanduser()
    found = sorted(path for path in paths.rglob("*") if path.suffix.lower() in (".mid", ".midi", ".kar"))
    if not found:
        raise UserError(f"{key}={folder}: no .mid, .midi or .kar file there; give a folder that holds some")
    return found


def write_score(score: Score, stem: Path, config: DictConfig, prompt_end_tick: int | None = None) -> Path:
    """The MIDI file, and what the config asks of pictures and sound; prints where they are."""
    midi = stem.with_suffix(".mid")
    save_score(score, midi)
    print(f"{midi.resolve()}  ({bar_count(score)} bars, {score.note_num()} notes, {duration_seconds(score):.1f} s)")
    if score.note_num() == 0:
        print("  no notes: no picture and no sound")
        return midi
    if config.piano_roll:
        save_pianoroll(score, stem.with_suffix(".png"), prompt_end_tick=prompt_end_tick or None)
    if config.audio:
        print(f"  audio       {stem.with_suffix('.wav').resolve()}  ({save_wav(midi, stem.with_suffix('.wav'))})")
    return midi


def write_record(path: Path, trained: Trained, settings: dict[str, Any], sources: Sequence[Path], rest: Any) -> None:
    """What was done, as JSON: settings, the checkpoint and the source files with their hashes, and `rest`."""
    hashes = {str(source.resolve()): hashlib.sha256(source.read_bytes()).hexdigest() for source in sources}
    record = {
        "midifactory": metadata.version("midifactory"),
        "settings": settings,
        "checkpoint": str(trained.path.resolve()),
        "checkpoint_sha256": trained.sha256,
        "sources_sha256": hashes,
        **rest,
    }
    files.write_text(path, json.dumps(record, ensure_ascii=False, indent=1))
    print(f"record      {path.resolve()}")
