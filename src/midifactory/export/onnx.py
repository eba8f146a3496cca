"""A trained model for ONNX Runtime: its program (program.py) as model.onnx, and a model that runs one."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from midifactory import files
from midifactory.errors import UserError
from midifactory.export.hub import refuse_filled
from midifactory.export.program import (
    Program,
    RecurrentProgram,
    make_program,
    program_trained,
    write_program_files,
)
from midifactory.export.running import Run
from midifactory.models.interface import SequenceModel
from midifactory.training.checkpoint import Trained
from midifactory.training.checkpoint_folder import ONNX_PROGRAM, read_program
from midifactory.training.notes import TrainedNotes

_ONE_FILE_BYTES = 1_800_000_000  # ONNX's format holds 2 GB in a file
_MOST_APART = 1e-3  # of logits; what is further apart is not the same model


def save_onnx(trained: Trained | TrainedNotes, folder: str | os.PathLike[str]) -> tuple[Path, float]:
    """Write model.onnx with config.json and tokenizer.json as a new `folder`.

    Returns the folder, and how far its logits are from torch's at most, on made-up rows of several lengths. Raises
    UserError where the folder holds something, for a model that is no function, and where packages are missing.
    """
    target = refuse_filled(folder)
    require("onnx", "onnxscript", "onnxruntime")
    program = make_program(cast(SequenceModel, trained.model))
    with files.replacing_folder(target) as fresh:
        write_onnx(program, fresh / ONNX_PROGRAM)
        apart = difference(program, session_run(fresh / ONNX_PROGRAM))
        if not apart <= _MOST_APART:
            raise UserError(
                f"format=onnx: ONNX Runtime's logits are {apart:.2g} from torch's, more than {_MOST_APART}; nothing is "
                "written, use format=hub"
            )
        write_program_files(trained, program.layout, fresh)
    return target, apart


def load_onnx(folder: str | os.PathLike[str]) -> Trained:
    """What `save_onnx` wrote, as a model like any other, on the CPU.

    Raises UserError where it is missing, damaged or no program for ONNX Runtime, and where that is not installed.
    """
    card, path, digest = read_program(folder, ONNX_PROGRAM)
    require("onnxruntime")
    return program_trained(card, session_run(path), Path(folder), digest)


def require(*packages: str) -> None:
    """Raise UserError where one of these cannot be imported."""
    for name in packages:
        try:
            __import__(name)
        except ImportError as error:
            raise UserError(f"{name} is not installed; pip install 'midifactory[onnx]'") from error


@torch.no_grad()
def write_onnx(program: Program, path: Path) -> None:
    """Write the program as ONNX; weights beside it, in model.onnx.data, where one file cannot hold them."""
    if isinstance(program, RecurrentProgram):
        program.opaque = True
    size = sum(value.numel() * value.element_size() for value in program.state_dict().values())
    with _quiet():
        exported: Any = torch.onnx.export(
            program,
            (),
            kwargs=program.example(),
            input_names=program.layout.inputs,
            output_names=program.layout.outputs,
            dynamic_shapes=program.changing(),
            custom_translation_table={torch.ops.midifactory.recurrent_layer.default: _recurrent_layer},
            dynamo=True,
            verbose=False,
        )
        exported.save(path, external_data=size > _ONE_FILE_BYTES)


def _recurrent_layer(
    x: Any, hidden: Any, cell: Any, w_in: Any, w_on: Any, b_in: Any, b_on: Any, lstm: bool
) -> tuple[Any, Any, Any]:
    """program.recurrent_layer in ONNX's operators, whose gates stand in another order than torch's."""
    from onnxscript import opset18

    op: Any = opset18  # its stubs take tensors alone, where the exporter takes lists
    order = (0, 3, 1, 2) if lstm else (1, 0, 2)  # ifgo as iofg; rzn as zrn
    size = int(w_on.shape[1])

    def ordered(weight: Any) -> Any:
        return op.Concat(*(op.Slice(weight, [gate * size], [(gate + 1) * size], [0]) for gate in order), axis=0)

    w, r = op.Unsqueeze(ordered(w_in), [0]), op.Unsqueeze(ordered(w_on), [0])
    b = op.Unsqueeze(op.Concat(ordered(b_in), ordered(b_on), axis=0), [0])
    steps = op.Transpose(x, perm=[1, 0, 2])  # (T, B, D)
    if lstm:
        y, hidden, cell = op.LSTM(steps, w, r, b, initial_h=hidden, initial_c=cell, hidden_size=size)
    else:
        y, hidden = op.GRU(steps, w, r, b, initial_h=hidden, hidden_size=size, linear_before_reset=1)
    return op.Transpose(op.Squeeze(y, [1]), perm=[1, 0, 2]), hidden, op.Identity(cell)


def session_run(path: Path) -> Run:
    """ONNX Runtime on the CPU, with torch's number of threads. Raises UserError for a file that it does not take."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a class of its own for each kind of failure
        raise UserError(f"{path}: ONNX Runtime does not take it ({str(error).splitlines()[0][:150]})") from error

    def run(inputs: dict[str, Tensor]) -> list[Tensor]:
        found = session.run(None, {name: np.ascontiguousarray(value.numpy()) for name, value in inputs.items()})
        return [torch.from_numpy(np.asarray(part)) for part in found]

    return run


@torch.no_grad()
def difference(program: Program, run: Run) -> float:
    """The largest difference of logits between a program in torch and elsewhere: prompts, then tokens one by one."""
    generator, layout, apart = torch.Generator().manual_seed(0), program.layout, 0.0
    for rows, lengths in ((1, (1, 1)), (2, (7, 1, 1)), (3, (40, 1, 5))):
        read, columns = layout.empty(rows), 0
        for new in lengths:
            places = torch.zeros(rows, new, max(1, layout.place_features), dtype=torch.int64)
            feeds = read | {
                "ids": torch.randint(1, layout.vocab_size, (rows, new), generator=generator),
                "positions": torch.arange(columns, columns + new).expand(rows, -1),
                "places": places,
                "labels": torch.zeros(rows, len(layout.conditions), dtype=torch.int64),
            }
            feeds = {name: feeds[name] for name in layout.inputs}
            expected, found = program(**feeds), run(feeds)
            apart = max(apart, float((expected[0] - found[0]).abs().max()))
            after = dict(zip(layout.outputs, expected, strict=True))
            columns += new
            read = {
                name: after[{"past": "present"}.get(name, f"new_{name}")] for name in read if name != "past_positions"
            }
            if layout.past is not None:
                read["past_positions"] = torch.arange(columns).expand(rows, -1)
    return apart


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter tells of its own steps."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
