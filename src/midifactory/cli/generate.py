"""`midifactory generate`: a trained model composes; writes .mid, .png, .wav and a .json that replays it."""

import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import default_device, plain
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.errors import UserError
from midifactory.generation.guide import Length
from midifactory.generation.pieces import Composition, compose, opening_of_style, prompt_opening
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Style, bind_range, parse_wishes
from midifactory.music.score import UnreadableMidi, bar_count, duration_seconds, load_score, save_score
from midifactory.render.audio import save_wav
from midifactory.render.pianoroll import save_pianoroll
from midifactory.targets import load_class
from midifactory.training.checkpoint import load_trained

DEFAULT_BARS = 8
# What a replay takes from the file; the rest of the settings says only what to render.
_SETTINGS = (
    *("style", "chords", "key", "key_strength", "tempo_bpm", "metre", "pitch_range", "bars", "seconds", "tokens"),
    *("prompt_bars", "prompt_notes", "num_samples", "seed", "temperature", "top_k", "top_p", "window", "device"),
)

_FILES = ("checkpoint", "prompt", "prompt_sha256", "checkpoint_sha256")
# The least value of each; Sampling, Length and Engine know the limits of the others.
_WHOLE_NUMBERS = {
    **dict.fromkeys(("bars", "tokens", "prompt_bars", "prompt_notes", "num_samples"), 1),
    **dict.fromkeys(("seed", "top_k"), 0),
    "window": 2,
}


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
    sampling = Sampling(settings["temperature"], settings["top_k"], settings["top_p"])
    trained = load_trained(settings["checkpoint"], default_device(settings["device"], "device"))
    if settings.get("checkpoint_sha256") not in (None, trained.sha256):
        raise UserError(
            f"replay={config.replay}: checkpoint {settings['checkpoint']} has changed since (its hash is "
            f"{trained.sha256[:12]}, not {settings['checkpoint_sha256'][:12]}); put the old one back"
        )
    settings["checkpoint_sha256"] = trained.sha256
    wishes = parse_wishes(
        trained.profile, settings["key"], settings["tempo_bpm"], settings["metre"], settings["chords"]
    )
    wishes = bind_range(wishes, settings["pitch_range"], trained.tokenizer)
    if settings["prompt"]:
        score = read_prompt(settings)
        opening = prompt_opening(score, trained.tokenizer, settings["prompt_bars"], settings["prompt_notes"], wishes)
    else:
        opening = opening_of_style(build_style(settings["style"]), wishes, trained.tokenizer)
    with tqdm(desc="compose", unit="token") as bar:
        pieces = compose(
            trained,
            opening,
            wishes,
            length,
            sampling,
            settings["num_samples"],
            settings["seed"],
            settings["key_strength"],
            settings["window"],
            lambda: bar.update(settings["num_samples"]),
        )
    written = []
    for number, piece in enumerate(pieces, start=1):
        if only in (None, number):
            written.append(write_piece(piece, number, settings, folder, config.piano_roll, config.audio))
    return written


def read_settings(config: DictConfig) -> dict[str, Any]:
    """All that decides the notes, as plain values, the defaults filled in."""
    values = plain(config)
    settings = {key: values[key] for key in _SETTINGS}
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


def check_numbers(settings: dict[str, Any]) -> None:
    """Raise UserError for a word or a fraction where a (whole) number is meant, and below the least one possible."""
    for name, least in _WHOLE_NUMBERS.items():
        value = settings[name]
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise UserError(f"{name}={value}: give a whole number of at least {least}")
    for name in ("seconds", "temperature", "top_p", "tempo_bpm", "key_strength"):
        value = settings[name]
        if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
            raise UserError(f"{name}={value}: give a number")
    pitches = settings["pitch_range"]
    if pitches is not None and not (isinstance(pitches, list) and all(type(pitch) is int for pitch in pitches)):
        raise UserError(f"pitch_range={pitches}: give the lowest and the highest MIDI pitch, such as [21,108]")


def build_style(config: dict[str, Any]) -> Style:
    """The style of a conf/style file or of a replay. Raises UserError where it is none."""
    kind: Any = load_class(config["_target_"], Style, "style")
    try:
        return kind(**{key: value for key, value in config.items() if key != "_target_"})
    except TypeError as error:
        raise UserError(f"style: {error}") from error


def read_replay(path: Path) -> tuple[dict[str, Any], int]:
    """Settings and the sample's number from a .json that `write_piece` wrote. Raises UserError for any other file."""
    try:
        record = json.loads(path.expanduser().read_text(encoding="utf-8"))
        # Replays of before there were ranges belong to checkpoints without a tessitura: null binds nothing there.
        given = {"pitch_range": None, **record["settings"]}
        settings = {name: given[name] for name in (*_SETTINGS, *_FILES)}
        return settings, int(record["sample"])
    except OSError as error:
        raise UserError(f"replay={path}: {error.strerror}; give the .json beside a generated piece") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"replay={path}: not written by midifactory generate; give the .json beside a piece") from error


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
    piece: Composition, number: int, settings: dict[str, Any], folder: Path, piano_roll: bool, audio: bool
) -> Path:
    """Write one piece's files and print where they are; returns the MIDI file."""
    stem = folder / f"piece_{number:02d}"
    midi = stem.with_suffix(".mid")
    save_score(piece.score, midi)
    print(f"{midi.resolve()}  ({bar_count(piece.score)} bars, {piece.score.note_num()} notes)")
    record: dict[str, Any] = {
        "midifactory": metadata.version("midifactory"),
        "sample": number,
        "settings": settings,
        "seconds": round(duration_seconds(piece.score), 3),
        "notes": piece.score.note_num(),
        "midi_sha256": hashlib.sha256(midi.read_bytes()).hexdigest(),
    }
    if piece.score.note_num() == 0:
        print("  no notes: no picture and no sound; take another seed")
    else:
        if piano_roll:
            save_pianoroll(piece.score, stem.with_suffix(".png"), prompt_end_tick=piece.prompt_end_tick or None)
            print(f"  piano roll  {stem.with_suffix('.png').resolve()}")
        if audio:
            record["audio"] = save_wav(midi, stem.with_suffix(".wav"))
            print(f"  audio       {stem.with_suffix('.wav').resolve()}  ({record['audio']})")
    files.write_text(stem.with_suffix(".json"), json.dumps(record, ensure_ascii=False, indent=1))
    print(f"  replay      {stem.with_suffix('.json').resolve()}")
    return midi
