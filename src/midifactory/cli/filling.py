"""What `infill`, `add_track` and `harmonise` share: a MIDI file, a region of it, and new notes in it, written."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from symusic import Score
from tqdm import tqdm

from midifactory.cli.building import default_device, plain
from midifactory.cli.generate import read_prompt, read_replay, write_piece
from midifactory.cli.latent_pieces import check_plain_number
from midifactory.cli.originality import find_originality
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.errors import UserError
from midifactory.generation.infill import Filled, Infiller, Region, read_as
from midifactory.generation.pieces import Composition
from midifactory.generation.region import readings
from midifactory.generation.sampling import Sampling
from midifactory.generation.wishes import Wishes, bind_range
from midifactory.render.pianoroll import save_pianorolls
from midifactory.training.checkpoint import load_trained

# What decides the notes, the files and the region aside.
_SETTINGS = (
    *("bars", "pitch_range", "num_samples", "seed", "temperature", "top_k", "top_p", "min_p", "typical_p", "device"),
)
_FILES = ("command", "checkpoint", "checkpoint_sha256", "prompt", "prompt_sha256")
_MOST_SHOWN = 4
_Settings = dict[str, Any]


def fill_file(
    config: DictConfig, command: str, own: Sequence[str], region_of: Callable[[_Settings, Infiller, Score], Region]
) -> list[Path]:
    """Run a command: `own` are its settings beside the shared ones, `region_of` what is to be filled by them.

    Writes the pieces as `generate` does, and a picture of the file before and after.
    """
    if config.replay:
        settings, only = read_replay(Path(config.replay), command, own, (*_FILES, *_SETTINGS))
    else:
        settings, only = _read(config, command, own), None
    sampling = Sampling(*(settings[name] for name in ("temperature", "top_k", "top_p", "min_p", "typical_p")))
    trained = load_trained(settings["checkpoint"], default_device(settings["device"], "device"))
    if settings["checkpoint_sha256"] not in (None, trained.sha256):
        raise UserError(f"replay={config.replay}: checkpoint {settings['checkpoint']} has changed since; put it back")
    settings["checkpoint_sha256"] = trained.sha256
    infiller = Infiller(trained, settings["checkpoint"])
    score = read_prompt(settings)
    region = region_of(settings, infiller, score)
    wishes = bind_range(Wishes(trained.profile), settings["pitch_range"], trained.tokenizer)
    programs = read_as(score, trained.profile)
    for line in readings(score, programs):
        print(line)
    with tqdm(desc=command, unit="token") as bar:
        pieces = infiller.fill(
            score, region, sampling, settings["num_samples"], settings["seed"],
            programs, wishes.pitch_range, wishes.program_ranges, bar.update,
        )  # fmt: skip
    folder, known = Path(config.run_dir), find_originality(trained)
    written = []
    for number, piece in enumerate(pieces, start=1):
        if only not in (None, number):
            continue
        whole, ticks = Composition(piece.score, (), 0), (piece.start_tick, piece.end_tick)
        written.append(write_piece(whole, number, settings, folder, config.piano_roll, config.audio, known, ticks))
        counts = " ".join(map(str, piece.notes_per_bar))
        print(f"  bars {region.first + 1}-{region.end}: {piece.notes} new notes ({counts} a bar)")
    if config.piano_roll and only is None:
        _draw(score, pieces, folder / "before_after.png")
    return written


def _draw(score: Score, pieces: Sequence[Filled], path: Path) -> None:
    shown = [piece.score for piece in pieces[:_MOST_SHOWN]]
    titles = ["before", *(["after"] if len(shown) == 1 else [f"after, {n}" for n in range(1, len(shown) + 1)])]
    save_pianorolls([score, *shown], path, titles, (pieces[0].start_tick, pieces[0].end_tick))
    print(f"picture     {path.resolve()}")


def _read(config: DictConfig, command: str, own: Sequence[str]) -> _Settings:
    """All that decides the notes, as plain values. Raises UserError where a number or the file is none."""
    values = plain(config)
    settings = {"command": command, **{key: values[key] for key in (*_SETTINGS, *own)}}
    for name, least in (("num_samples", 1), ("seed", 0), ("top_k", 0)):
        check_plain_number(config, name, least=least, whole=True)
    for name in ("temperature", "top_p", "min_p", "typical_p"):
        check_plain_number(config, name)
    pitches = settings["pitch_range"]
    if pitches is not None and not (isinstance(pitches, list) and all(type(pitch) is int for pitch in pitches)):
        raise UserError(f"pitch_range={pitches}: give the lowest and the highest MIDI pitch, such as [40,60]")
    if config.prompt is None:
        raise UserError(f"{command} needs a MIDI file: midifactory {command} FILE.mid")
    prompt = Path(config.prompt).expanduser()
    if not prompt.is_file():
        raise UserError(f"prompt={config.prompt}: no such file; give the path of a .mid file")
    checkpoint = checkpoint_in(config.checkpoint) if config.checkpoint else newest_checkpoint()
    return settings | {
        "checkpoint": str(checkpoint.resolve()),
        "checkpoint_sha256": None,
        "prompt": str(prompt.resolve()),
        "prompt_sha256": hashlib.sha256(prompt.read_bytes()).hexdigest(),
    }
