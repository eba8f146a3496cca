"""What computes a composition: torch, or ONNX Runtime with a model that was exported for it."""

import difflib
from typing import Any

from midifactory.cli.building import default_device
from midifactory.errors import UserError
from midifactory.training.checkpoint import Trained, load_trained
from midifactory.training.notes import TrainedNotes, holds_notes, load_trained_notes

ENGINES = ("torch", "onnx")


def load_by_engine(settings: dict[str, Any]) -> Trained | TrainedNotes:
    """The model of the settings, for their engine and device. Raises UserError for what the engine cannot do."""
    engine, checkpoint, device = str(settings["engine"]), settings["checkpoint"], settings["device"]
    if engine not in ENGINES:
        near = difflib.get_close_matches(engine, ENGINES, n=1, cutoff=0.0)[0]
        raise UserError(f"engine={engine}: choose one of {', '.join(ENGINES)} (nearest: {near})")
    if engine == "torch":
        load = load_trained_notes if holds_notes(checkpoint) else load_trained
        return load(checkpoint, default_device(device, "device"))
    if settings["int8"]:
        raise UserError("int8=true is for engine=torch; leave one of them out")
    if device not in ("auto", "cpu"):
        raise UserError(f"device={device}: engine=onnx runs on the CPU; leave device out, or set engine=torch")
    from midifactory.export.onnx import load_onnx

    return load_onnx(checkpoint)
