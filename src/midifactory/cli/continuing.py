"""`midifactory continue`: a MIDI file goes on, after its last bar or from a bar; what stands before is not touched."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from midifactory.cli import hydra_app
from midifactory.cli.generate import (
    load_checkpoint,
    read_prompt,
    read_replay,
    read_settings,
    token_pieces,
    training_pieces,
    write_piece,
)
from midifactory.errors import UserError
from midifactory.generation.asked import check_numbers, read_sampling
from midifactory.generation.guide import Length
from midifactory.generation.joining import Place, joined_piece, opening_before
from midifactory.generation.styles import Opening
from midifactory.generation.wishes import Wishes
from midifactory.music.joining import line_of_bar
from midifactory.music.originality import Originality
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.checkpoint import Trained
from midifactory.training.notes import TrainedNotes


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("continue", run, sys.argv[1:] if argv is None else argv)


def run(config: DictConfig) -> list[Path]:
    """Write piece_01.mid, piece_02.mid, ...: the file up to its end or to the bar, and what the model adds."""
    settings, only = read_continuation(config)
    trained = plain_tokens(load_checkpoint(settings, config.replay), "continue")
    score = read_prompt(settings)
    begin = line_of_bar(score, settings["from_bar"], "from_bar", Path(settings["prompt"]).name, past_the_end=True)
    if begin == 0:
        raise UserError("from_bar=1: nothing stands before it; give a later bar, or compose with midifactory generate")

    def opening(wishes: Wishes) -> Opening:
        place = Place(score, begin, settings["prompt_bars"])
        return opening_before(place, trained, wishes, settings["grammar"])

    length = Length(settings["bars"], settings["seconds"], settings["tokens"])
    originality = training_pieces(trained, settings)
    pieces = token_pieces(trained, settings, length, read_sampling(settings), originality, opening)
    whole = [joined_piece(score, piece, begin, None, trained.tokenizer) for piece in pieces]
    return write_pieces(whole, only, settings, config, originality)


def read_continuation(config: DictConfig) -> tuple[dict[str, Any], int | None]:
    """The settings, from the config or from a replay, and the number of a replay's piece."""
    if config.replay:
        settings, only = read_replay(Path(config.replay), "continue", ("from_bar",))
    else:
        if not config.prompt:
            raise UserError("continue needs a MIDI file; type midifactory continue FILE.mid")
        refuse_others(config, "continue", ("style", "prompt_notes", "metre", "tempo_bpm"))
        settings, only = {**read_settings(config), "from_bar": config.from_bar}, None
    check_numbers(settings)
    check_bar(settings["from_bar"], "from_bar")
    return {**settings, "command": "continue"}, only


def refuse_others(config: DictConfig, command: str, names: Sequence[str]) -> None:
    """Raise UserError for settings of generate that `command` takes from the file."""
    for name in names:
        value = config[name]
        if name == "style":
            if not str(value["_target_"]).endswith(".Free"):
                raise UserError(f"{command} takes no style: the file is the start; leave style out")
        elif value is not None:
            raise UserError(f"{name}={value}: {command} keeps to the file's own; leave it out")


def check_bar(bar: Any, name: str) -> None:
    """Raise UserError for anything but the number of a bar, or null."""
    if bar is not None and (type(bar) is not int or bar < 1):
        raise UserError(f"{name}={bar}: give the number of a bar, from 1 on")


def plain_tokens(trained: Trained | TrainedNotes, command: str) -> Trained:
    """A model whose music has a place in a file. Raises UserError for note features and for track after track."""
    if isinstance(trained, TrainedNotes):
        raise UserError(f"{command}: this model is of note features, which know no bars; take a model of tokens")
    return in_time_order(trained, command)


def in_time_order(trained: Trained, command: str) -> Trained:
    """The model itself. Raises UserError where its tokens tell one track after the other."""
    tokenizer: Tokenizer = trained.tokenizer
    if not tokenizer.monotonic:
        raise UserError(
            f"{command}: {tokenizer.scheme} writes one track after the other, so nothing can go on after a bar; take a "
            "model of another tokenizer, such as tokenizer=remi_plus"
        )
    return trained


def write_pieces(
    pieces: Sequence[Any],
    only: int | None,
    settings: dict[str, Any],
    config: DictConfig,
    originality: Originality | None = None,
) -> list[Path]:
    """Write the pieces, of a replay the one that is meant."""
    folder = Path(config.run_dir)
    return [
        write_piece(piece, number, settings, folder, config.piano_roll, config.audio, originality)
        for number, piece in enumerate(pieces, start=1)
        if only in (None, number)
    ]
