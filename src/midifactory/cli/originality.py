"""`midifactory originality`: how much of any MIDI file stands in what a model was trained on."""

from pathlib import Path
from typing import Any

from symusic import Score

from midifactory.cli.hydra_app import report
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.data.originality import Checkpoint, require_originality
from midifactory.errors import UserError
from midifactory.music.originality import Originality
from midifactory.music.score import UnreadableMidi, cut, load_score
from midifactory.training.checkpoint import load_trained

USAGE = """usage: midifactory originality FILE.mid ... [checkpoint=FILE]

Compares MIDI files, as the model's tokens can tell them, with the pieces that it was trained on.
checkpoint: the newest run's best where it is left out."""


def main(argv: list[str] | None = None) -> int:
    """Print a line for each file; returns 0, or `report`'s code for what went wrong."""
    words = argv or []
    if not words or any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return 0
    try:
        _compare(words)
    except Exception as error:
        return report(error)
    return 0


def _compare(words: list[str]) -> None:
    given = [word.partition("=")[2] for word in words if word.startswith("checkpoint=")]
    paths = [Path(word).expanduser() for word in words if not word.startswith("checkpoint=")]
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such file; type: midifactory originality FILE.mid [checkpoint=FILE]")
    trained = load_trained(checkpoint_in(given[-1]) if given else newest_checkpoint())
    originality = require_originality(trained)
    tokenizer = trained.tokenizer
    for path in paths:
        try:
            score = load_score(path)
        except UnreadableMidi as error:
            raise UserError(f"{path}: {error}; give another MIDI file") from error
        heard = tokenizer.decode(tokenizer.to_model_ids(tokenizer.encode(score).ids))
        print(f"{path}\n  {originality.of(heard).line()}")


def find_originality(trained: Checkpoint) -> Originality | None:
    """The same, or None, and a line that says why."""
    try:
        return require_originality(trained)
    except UserError as error:
        print(f"originality is not reported: {error}")
        return None


def report_copies(
    originality: Originality | None, score: Score, begin_tick: int = 0, end_tick: int | None = None
) -> dict[str, Any] | None:
    """Print how much of a Score from one tick to another is copied; as plain values, None where nobody knows."""
    if originality is None:
        return None
    found = originality.of(score if end_tick is None else cut(score, end_tick), begin_tick)
    print(f"  {found.line()}")
    return found.to_dict()
