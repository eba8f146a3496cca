"""One more token of each row in one call: step.c, compiled once for this machine and kept.

Eager torch spends half of such a step on calls and on waiting between a hundred small operations. Where there is no C
compiler, or the model is no plain transformer in single precision on a CPU, there is no native step, and torch's
operations do the work.

Legend: B rows, D d_model, V vocabulary, N outputs, K inputs of a product.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from midifactory.models.cache import KeyValueCache
from midifactory.models.layers import FeedForward
from midifactory.models.quantise import Int8Linear

_SOURCE = Path(__file__).with_name("step.c")
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
_PANEL = 32  # outputs that lie side by side, as WIDE in step.c

_Address = ctypes.c_void_p


class _Matrix(ctypes.Structure):
    _fields_ = (("weights", _Address), ("scales", _Address), ("bias", _Address), ("inputs", ctypes.c_int64),
                ("outputs", ctypes.c_int64))  # fmt: skip


class _Norm(ctypes.Structure):
    _fields_ = ("weight", _Address), ("bias", _Address), ("eps", ctypes.c_float), ("rms", ctypes.c_int32)


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, _Norm) for name in ("norm_attention", "norm_feed_forward")),
        *((name, _Matrix) for name in ("qkv", "out", "rise", "value", "fall")),
        *((name, _Address) for name in ("distances", "keys", "values")),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("layers", "rows", "width", "heads", "kv_heads", "size", "greatest")),
        *((name, ctypes.c_int64) for name in ("row_stride", "head_stride", "threads", "eight")),
        *((name, _Address) for name in ("cos", "sin", "slopes", "columns")),
        ("norm", _Norm),
        ("head", _Matrix),
        ("layer", _Address),
    )


class NativeStep:
    """The weights of a transformer, packed for step.c: a second copy of them."""

    def __init__(self, model: Any, function: Any):
        self._kept: list[Tensor] = []  # what the addresses point at
        self._function = function
        positions, first = model.positions, model.blocks[0]
        self.layers = (_Layer * len(model.blocks))(*(self._layer(block) for block in model.blocks))
        self.model = _Model(
            layers=len(model.blocks),
            width=model.inputs.tokens.embedding_dim,
            heads=model.heads,
            kv_heads=model.kv_heads,
            size=first.attention.size,
            greatest=positions.greatest,
            norm=self._norm(model.norm),
            head=self._matrix(model.head),
        )
        if positions.kind == "rotary":
            self.model.cos, self.model.sin = self._address(positions.cos), self._address(positions.sin)
        if positions.kind == "alibi":
            self.model.slopes = self._address(positions.slopes)
        self.inner = max(layer.fall.inputs for layer in self.layers)

    def __call__(self, x: Tensor, state: KeyValueCache, to_logits: bool) -> Tensor:
        """The next token of each row, embedded, x (B, D) -> logits (B, V), or what the head reads, (B, D)."""
        # Copies, since other threads may be decoding with the same model.
        model, layers = _Model.from_buffer_copy(self.model), type(self.layers).from_buffer_copy(self.layers)
        rows, threads, longest = len(x), torch.get_num_threads(), max(state.lengths) + 1
        x = x.clone(memory_format=torch.contiguous_format)
        logits = x.new_empty(rows, model.head.outputs) if to_logits else None
        wide = (model.heads + 2 * model.kv_heads) * model.size + model.width + self.inner
        room = x.new_empty(rows * wide + threads * (rows * model.width + longest))
        for layer, (keys, values) in zip(layers, state.layers, strict=True):
            layer.keys, layer.values = keys.data_ptr(), values.data_ptr()
        places = (ctypes.c_int64 * rows)(*state.lengths)
        model.rows, model.threads, model.eight = rows, threads, state.eight
        model.columns, model.layer = ctypes.addressof(places), ctypes.addressof(layers)
        model.row_stride, model.head_stride = keys.stride(0), keys.stride(1)
        address = None if logits is None else logits.data_ptr()
        self._function(ctypes.byref(model), x.data_ptr(), address, room.data_ptr(), self.inner, longest)
        return x if logits is None else logits

    def _layer(self, block: Any) -> _Layer:
        attention, feed_forward = block.attention, block.feed_forward
        halves = self._matrices(feed_forward.rise, 2 if feed_forward.gated else 1)
        distances = attention.distances
        return _Layer(
            norm_attention=self._norm(block.norm_attention),
            norm_feed_forward=self._norm(block.norm_feed_forward),
            qkv=self._matrix(attention.qkv),
            out=self._matrix(attention.residual),
            rise=halves[0],
            value=halves[-1] if feed_forward.gated else _Matrix(),
            fall=self._matrix(feed_forward.residual),
            distances=None if distances is None else self._address(distances.weight),
        )

    def _norm(self, norm: Any) -> _Norm:
        rms, bias = isinstance(norm, nn.RMSNorm), getattr(norm, "bias", None)
        return _Norm(self._address(norm.weight), None if bias is None else self._address(bias), norm.eps, rms)

    def _matrix(self, linear: nn.Module) -> _Matrix:
        return self._matrices(linear, 1)[0]

    def _matrices(self, linear: Any, parts: int) -> list[_Matrix]:
        """The weights of a linear layer (N, K), its outputs in so many parts, each in panels of (K, _PANEL)."""
        scales = linear.scales if isinstance(linear, Int8Linear) else None
        found = []
        for index, weight in enumerate(linear.weight.detach().chunk(parts)):
            outputs, inputs = weight.shape
            panels = nn.functional.pad(weight, (0, 0, 0, -outputs % _PANEL)).view(-1, _PANEL, inputs)
            vectors = (
                None if vector is None else self._address(vector.detach().chunk(parts)[index])
                for vector in (scales, linear.bias)
            )
            found.append(_Matrix(self._address(panels.transpose(1, 2)), *vectors, inputs, outputs))
        return found

    def _address(self, tensor: Tensor) -> int:
        self._kept.append(tensor.detach().clone(memory_format=torch.contiguous_format))
        return self._kept[-1].data_ptr()


_PACKED: "weakref.WeakKeyDictionary[nn.Module, tuple[Any, NativeStep]]" = weakref.WeakKeyDictionary()


def native_step(model: Any) -> NativeStep | None:
    """The native step of a Transformer with its weights as they are now, or None where there is none."""
    weights = [*model.parameters(), *model.buffers()]
    plain = all(isinstance(block.feed_forward, FeedForward) for block in model.blocks)
    floats = all(part.device.type == "cpu" and part.dtype in (torch.float32, torch.int8) for part in weights)
    library = _library() if plain and floats and not torch.compiler.is_compiling() else None
    if library is None:
        return None
    # No version counters: what is written to `parameter.data`, or in inference mode, counts as no change.
    sums = [part.detach().sum(dtype=torch.float32) for part in weights]
    version = *(part.data_ptr() for part in weights), *torch.stack(sums).tolist()
    known = _PACKED.get(model)
    if known is None or known[0] != version:
        known = _PACKED[model] = version, NativeStep(model, library)
    return known[1]


@cache
def _library() -> Any:
    """`step` of step.c; it takes two seconds to compile, once for each machine and compiler."""
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("cc") or shutil.which("gcc") or "clang"]
    if platform.system() == "Windows":
        return None
    try:
        # What the compiler says of itself and of this processor: a folder may be shared between machines.
        about = subprocess.run(
            [*compiler, *_FLAGS, "-dM", "-E", "-x", "c", os.devnull], check=True, capture_output=True
        ).stdout
        name = hashlib.sha256(about + _SOURCE.read_bytes() + repr(_FLAGS).encode()).hexdigest()[:24]
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "midifactory"
        path = folder / f"step-{name}.so"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _compile(compiler, path)
        step = ctypes.CDLL(str(path)).step
    except (OSError, subprocess.CalledProcessError):
        return None
    step.argtypes = _Address, _Address, _Address, _Address, ctypes.c_int64, ctypes.c_int64
    step.restype = None
    return step


def _compile(compiler: list[str], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        for threads in (["-fopenmp"], []):  # Apple's compiler has no OpenMP: one thread
            command = [*compiler, *_FLAGS, *threads, "-o", str(made), str(_SOURCE), "-lm"]
            if subprocess.run(command, check=False, capture_output=True).returncode == 0:
                made.replace(path)
                return
    raise OSError(f"{compiler} cannot compile {_SOURCE}")
