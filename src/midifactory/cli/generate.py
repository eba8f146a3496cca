"""`midifactory generate`: a trained model composes; writes .mid, .png, .wav and a .json that replays it."""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import plain
from midifactory.cli.engines import load_by_engine
from midifactory.cli.originality import find_originality, report_copies, require_originality
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.errors import UserError
from midifactory.generation.asked import (
    DEFAULT_BARS,
    build_style,
    check_numbers,
    read_sampling,
    what_is_asked,
)
from midifactory.generation.guide import Length
from midifactory.generation.notes import compose_notes, opening_notes
from midifactory.generation.pieces import Composition, compose, prompt_opening
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free, Opening
from midifactory.generation.told import take_words, tell_numbers
from midifactory.generation.wishes import Wishes
from midifactory.models.quantise import quantise
from midifactory.music.originality import Originality
from midifactory.music.score import UnreadableMidi, bar_count, duration_seconds, load_score, save_score
from midifactory.render.audio import save_wav
from midifactory.render.pianoroll import save_pianoroll
from midifactory.training.checkpoint import Trained
from midifactory.training.notes import TrainedNotes

# What a replay takes from the file; the rest of the settings says only what to render.
_SETTINGS = (
    *("style", "chords", "key", "key_strength", "tempo_bpm", "metre", "pitch_range", "bars", "seconds", "tokens"),
    *("prompt_bars", "prompt_notes", "num_samples", "seed", "temperature", "top_k", "top_p", "window", "device"),
    *("conditions", "guidance", "grammar", "instruments", "polyphony", "density", "rhythm_grid", "harmony"),
    *("harmony_strength", "repetition_penalty", "min_p", "typical_p", "temperature_per_type", "best_of", "best_by"),
    *("at_once", "int8", "max_copy_beats", "engine"),
)
# What older replays lack: their checkpoints have no tessitura, so null binds nothing, and no conditions.
_ADDED_SETTINGS: dict[str, Any] = {
    **{"pitch_range": None, "conditions": {}, "guidance": 1.0, "grammar": True},
    **dict.fromkeys(("instruments", "polyphony", "density", "rhythm_grid", "harmony", "at_once")),
    **{"harmony_strength": 3.0, "repetition_penalty": 1.0, "min_p": 0.0, "typical_p": 1.0, "temperature_per_type": {}},
    **{"best_of": 1, "best_by": "likelihood", "int8": False, "max_copy_beats": None},
    "engine": "torch",
}

_FILES = ("checkpoint", "prompt", "prompt_sha256", "checkpoint_sha256")


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("generate", run, sys.argv[1:] if argv is None else argv)


def run(config: DictConfig) -> list[Path]:
    """Generate into the run's folder."""
    return generate(config, Path(config.run_dir))


def generate(config: DictConfig, folder: Path) -> list[Path]:
    """Compose as `config` (conf/composing.yaml) says, write everything into `folder`, return the MIDI files."""
    settings, only = read_replay(Path(config.replay)) if config.replay else (read_settings(config), None)
    check_numbers(settings)
    length = Length(settings["bars"], settings["seconds"], settings["tokens"])
    sampling = read_sampling(settings)
    trained = load_checkpoint(settings, config.replay)
    originality = None
    if isinstance(trained, TrainedNotes):
        pieces = note_pieces(trained, settings, length, sampling)
    else:
        originality = training_pieces(trained, settings)
        pieces = token_pieces(trained, settings, length, sampling, originality)
    written = []
    for number, piece in enumerate(pieces, start=1):
        if only in (None, number):
            written.append(write_piece(piece, number, settings, folder, config.piano_roll, config.audio, originality))
    return written


def training_pieces(trained: Trained, settings: dict[str, Any]) -> Originality | None:
    """What the pieces are compared with; UserError where it is needed and not to be found."""
    return find_originality(trained) if settings["max_copy_beats"] is None else require_originality(trained)


def load_checkpoint(settings: dict[str, Any], replay: str | None) -> Trained | TrainedNotes:
    """The model of the settings, which learn its hash. Raises UserError where a replay means another one."""
    trained = load_by_engine(settings)
    if settings.get("checkpoint_sha256") not in (None, trained.sha256):
        raise UserError(
            f"replay={replay}: checkpoint {settings['checkpoint']} has changed since (its hash is "
            f"{trained.sha256[:12]}, not {settings['checkpoint_sha256'][:12]}); put the old one back"
        )
    settings["checkpoint_sha256"] = trained.sha256
    if not replay and isinstance(trained, Trained):
        tell_numbers(settings, trained)
    if settings["int8"] and isinstance(trained, Trained):
        trained = replace(trained, model=quantise(trained.model))
    return trained


def token_pieces(
    trained: Trained,
    settings: dict[str, Any],
    length: Length,
    sampling: Sampling,
    originality: Originality | None = None,
    begin: Callable[[Wishes], Opening] | None = None,
    progress: tqdm | None = None,
) -> list[Composition]:
    """What a model of tokens composes.

    originality: what it must not copy. begin: makes the opening, where a command has its own. progress: a bar for
    several calls, instead of one of its own.
    """
    if begin is None and settings["prompt"]:

        def begin(wishes: Wishes) -> Opening:
            bars, notes = settings["prompt_bars"], settings["prompt_notes"]
            lawful = settings["grammar"] and trained.tokenizer.has_grammar
            return prompt_opening(read_prompt(settings), trained.tokenizer, bars, notes, wishes, lawful)

    asked = what_is_asked(trained, settings, originality, begin)
    heard = count(1)
    with nullcontext(progress) if progress is not None else tqdm(desc="compose", unit="token") as bar:
        return compose(
            trained,
            asked.opening,
            asked.wishes,
            length,
            sampling,
            settings["num_samples"],
            settings["seed"],
            settings["key_strength"],
            settings["window"],
            bar.update,
            asked.conditions,
            settings["guidance"],
            asked.lawful,
            settings["best_of"],
            settings["best_by"],
            settings["at_once"],
            lambda _: bar.set_postfix(notes=next(heard), refresh=False),
            asked.copies,
        )


def note_pieces(
    trained: TrainedNotes, settings: dict[str, Any], length: Length, sampling: Sampling
) -> list[Composition]:
    """What a model of note features composes; `tokens` counts notes. Raises UserError for what only tokens can."""
    unknown = ("chords", "key", "tempo_bpm", "metre", "window", "conditions", "instruments", "polyphony", "density")
    for name in (*unknown, "rhythm_grid", "harmony", "temperature_per_type", "int8", "max_copy_beats"):
        if settings[name]:
            raise UserError(f"{name}={settings[name]}: this model is of note features, which know none; leave it out")
    if settings["guidance"] != 1 or not isinstance(build_style(settings["style"]), Free):
        raise UserError("this model is of note features: style=free and guidance=1 are all it knows")
    prompt = None
    if settings["prompt"]:
        prompt = opening_notes(read_prompt(settings), settings["prompt_bars"], settings["prompt_notes"])
    with tqdm(desc="compose", unit="note") as bar:
        return compose_notes(
            trained,
            prompt,
            length,
            sampling,
            settings["num_samples"],
            settings["seed"],
            settings["pitch_range"],
            lambda: bar.update(settings["num_samples"]),
        )


def read_settings(config: DictConfig) -> dict[str, Any]:
    """All that decides the notes, as plain values, the defaults filled in."""
    values = plain(config)
    settings = {key: values[key] for key in _SETTINGS}
    for name in ("grammar", "int8"):  # Hydra takes true and false alone for what they are
        settings[name] = {"on": True, "off": False}.get(str(settings[name]).lower(), settings[name])
    take_words(settings, values)
    checkpoint = checkpoint_in(config.checkpoint) if config.checkpoint else newest_checkpoint()
    settings["checkpoint"] = str(checkpoint.resolve())
    if settings["bars"] is None and settings["seconds"] is None and settings["tokens"] is None:
        settings["bars"] = DEFAULT_BARS
    settings["prompt"] = settings["prompt_sha256"] = None
    if config.prompt:
        prompt = Path(config.prompt).expanduser()
        if not prompt.is_file():
            raise UserError(f"prompt={config.prompt}: no such file; give the path of a .mid file")
        settings["prompt"] = str(prompt.resolve())
        settings["prompt_sha256"] = hashlib.sha256(prompt.read_bytes()).hexdigest()
        if config.chords:
            raise UserError(f"chords={config.chords!r} and a prompt: the prompt sets the start; leave one of them out")
    elif settings["prompt_bars"] is not None or settings["prompt_notes"] is not None:
        raise UserError("prompt_bars and prompt_notes need a prompt; add prompt=FILE.mid")
    return settings


def read_replay(
    path: Path, command: str = "generate", own: Sequence[str] = (), shared: Sequence[str] = (*_SETTINGS, *_FILES)
) -> tuple[dict[str, Any], int]:
    """Settings and the sample's number from a .json that `write_piece` wrote. Raises UserError for any other file.

    own: the settings that `command` has beside the `shared` ones, those of generate.
    """
    try:
        record = json.loads(path.expanduser().read_text(encoding="utf-8"))
        given = {**_ADDED_SETTINGS, **record["settings"]}
        writer = given.get("command", "generate")
        if writer == command:
            settings = {name: given[name] for name in (*shared, *own)}
            return settings, int(record["sample"])
    except OSError as error:
        raise UserError(f"replay={path}: {error.strerror}; give the .json beside a generated piece") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"replay={path}: not written by midifactory {command}; give the .json beside a piece"
        ) from error
    raise UserError(f"replay={path}: written by another command; type midifactory {writer} replay={path}")


def read_prompt(settings: dict[str, Any]) -> Any:
    """The prompt's Score, from the very file that the settings mean."""
    path = Path(settings["prompt"])
    try:
        score = load_score(path)
    except UnreadableMidi as error:
        raise UserError(f"prompt={path}: {error}; give another MIDI file") from error
    if hashlib.sha256(path.read_bytes()).hexdigest() != settings["prompt_sha256"]:
        raise UserError(f"prompt={path} has changed since; put the old file back, or generate anew")
    return score


def write_piece(
    piece: Composition,
    number: int,
    settings: dict[str, Any],
    folder: Path,
    piano_roll: bool,
    audio: bool,
    originality: Originality | None = None,
    region_ticks: tuple[int, int] | None = None,
) -> Path:
    """Write one piece's files and print where they are, and how much of it is copied; returns the MIDI file.

    region_ticks: where its own music is, which is shaded in the picture; None for all but a prompt.
    """
    stem = folder / f"piece_{number:02d}"
    midi = stem.with_suffix(".mid")
    save_score(piece.score, midi)
    print(f"{midi.resolve()}  ({bar_count(piece.score)} bars, {piece.score.note_num()} notes)")
    copied = report_copies(originality, piece.score, *(region_ticks or (piece.prompt_end_tick,)))
    record: dict[str, Any] = {
        "midifactory": metadata.version("midifactory"),
        "sample": number,
        "settings": settings,
        "seconds": round(duration_seconds(piece.score), 3),
        "notes": piece.score.note_num(),
        "originality": copied,
        "midi_sha256": hashlib.sha256(midi.read_bytes()).hexdigest(),
    }
    if piece.score.note_num() == 0:
        print("  no notes: no picture and no sound; take another seed")
    else:
        if piano_roll:
            prompt_end = piece.prompt_end_tick or None
            save_pianoroll(piece.score, stem.with_suffix(".png"), None, prompt_end, region_ticks)
            print(f"  piano roll  {stem.with_suffix('.png').resolve()}")
        if audio:
            record["audio"] = save_wav(midi, stem.with_suffix(".wav"))
            print(f"  audio       {stem.with_suffix('.wav').resolve()}  ({record['audio']})")
    files.write_text(stem.with_suffix(".json"), json.dumps(record, ensure_ascii=False, indent=1))
    print(f"  replay      {stem.with_suffix('.json').resolve()}")
    return midi
