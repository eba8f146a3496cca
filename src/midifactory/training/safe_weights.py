"""Weights as a safetensors file: names, shapes and bytes, which cannot hold code."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_SHARED = "shared"  # in the file's own words: {name: the name under which the same tensor is stored}


def save_weights(weights: dict[str, Tensor], path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write tensors by name; one that stands under several names, as tied embeddings do, is written once.

    dtype: of those that hold fractions; 16 bits take half the room.
    """
    stored, shared, first = dict[str, Tensor](), dict[str, str](), dict[tuple[int, ...], str]()
    for name, value in weights.items():
        place = (value.data_ptr(), *value.shape, *value.stride())
        if value.numel() and place in first:
            shared[name] = first[place]
            continue
        first[place] = name
        kept = value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype)
        stored[name] = kept.clone(memory_format=torch.contiguous_format)
    save_file(stored, path, {_SHARED: json.dumps(shared)})  # more words would stand in any order: other bytes each time


def load_weights(path: Path) -> dict[str, Tensor]:
    """What `save_weights` wrote, on the CPU, fractions in 32 bits.

    Raises ValueError for a file that is none, or lacks what it names.
    """
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            shared = json.loads((file.metadata() or {}).get(_SHARED, "{}"))
        weights = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
        return weights | {name: weights[same] for name, same in shared.items()}
    except (SafetensorError, KeyError, AttributeError, RuntimeError) as error:
        raise ValueError(str(error).splitlines()[0][:100]) from error
