"""Why a model says what it says: its probabilities of a file's notes, and where it looked."""

import threading
from typing import Any

from symusic import Score

from midifactory.evaluation.attended import attend
from midifactory.evaluation.explained import Explained, ExplainedNote, explain
from midifactory.evaluation.told_notes import ToldNotes, read_notes
from midifactory.models.vae import VAE
from midifactory.serve.problems import Problem
from midifactory.serve.schema import AttentionRequest, ExplainRequest
from midifactory.serve.shelf import Served


class Stopped(Exception):
    """Nobody waits for the answer any more."""


def check_explains(served: Served) -> None:
    """Raise Problem for a model whose tokens have no probability of their own."""
    if isinstance(served.trained.model, VAE):
        raise Problem(
            422,
            f"model={served.name}: what a VAE plays hangs on a latent that a file does not have; ask another model",
            *(served.name, "models without a latent", "ask another model", "model"),
        )


def check_attends(served: Served) -> None:
    """Raise Problem for a model without attention to be looked at."""
    model = served.trained.model
    if not hasattr(model, "attention_maps"):
        raise Problem(
            422,
            f"model={served.name}: {type(model).__name__} has no attention maps; ask a transformer",
            *(served.name, "transformers", "ask a transformer", "model"),
        )


def notes_told(served: Served, score: Score) -> ToldNotes:
    """The file as the model reads it. To be called at its desk. Raises UserError and Problem."""
    try:
        return read_notes(served.trained.tokenizer, score, served.limits.tokens)
    except (ValueError, KeyError, IndexError, ZeroDivisionError, OverflowError, AssertionError) as error:
        raise Problem(422, f"file: this model's tokens cannot tell it ({type(error).__name__})", name="file") from error


def explanation(served: Served, told: ToldNotes, asked: ExplainRequest, stop: threading.Event) -> dict[str, Any]:
    """What POST /v1/explain answers, see told.Explanation. Raises Stopped soon after `stop` is set."""

    def go_on(_: int) -> None:
        if stop.is_set():
            raise Stopped

    trained = served.trained
    found: Explained = explain(
        trained.model, trained.tokenizer, told, trained.window, asked.alternatives, on_tokens=go_on
    )
    return {
        "model": served.name,
        "notes": [_note(told, index, note) for index, note in enumerate(found.notes)],
        "nats_per_note": found.nats / len(told) if len(told) else None,
        "skipped": list(told.skipped),
    }


def attention(served: Served, told: ToldNotes, asked: AttentionRequest) -> dict[str, Any]:
    """What POST /v1/attention answers, see told.AttentionTold."""
    if asked.note >= len(told):
        raise _beyond("note", asked.note, len(told))
    model: Any = served.trained.model
    window = min(served.trained.window, model.context or served.trained.window)
    notes, weights = attend(model, told, asked.note, window)
    layers, heads = weights.shape[:2]
    if asked.layer is not None and asked.layer >= layers:
        raise _beyond("layer", asked.layer, layers)
    if asked.head is not None and asked.head >= heads:
        raise _beyond("head", asked.head, heads)
    chosen = weights if asked.layer is None else weights[asked.layer : asked.layer + 1]
    chosen = chosen if asked.head is None else chosen[:, asked.head : asked.head + 1]
    mean = chosen.mean((0, 1)).tolist()
    return {
        "model": served.name,
        "layers": layers,
        "heads": heads,
        "window_notes": len(notes),
        "weights": [{"note": note, "weight": weight} for note, weight in zip(notes.tolist(), mean, strict=True)],
    }


def _note(told: ToldNotes, index: int, note: ExplainedNote) -> dict[str, Any]:
    return {
        "track": int(told.track[index]),
        "program": int(told.program[index]),
        "pitch": int(told.pitch[index]),
        "velocity": int(told.velocity[index]),
        "onset_beats": float(told.onset_beats[index]),
        "duration_beats": float(told.duration_beats[index]),
        "nats": note.nats,
        "probability": note.probability,
        "alternatives": [{"pitch": pitch, "probability": share} for pitch, share in note.alternatives],
        "parts": [
            {
                "type": part.type,
                "value": part.value,
                "nats": part.nats,
                "probability": part.probability,
                "alternatives": [{"value": value, "probability": share} for value, share in part.alternatives],
            }
            for part in note.parts
        ],
    }


def _beyond(name: str, value: int, count: int) -> Problem:
    limit = f"0 to {count - 1}" if count else "none: no note of the file is told"
    return Problem(422, f"{name}={value}: there are {limit}; take one of these", value, limit, None, name)
