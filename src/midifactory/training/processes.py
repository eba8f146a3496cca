"""What processes that train one model together tell each other."""

import torch
import torch.distributed as dist
from torch import Tensor


def process_count() -> int:
    """How many processes train together; 1 outside of a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """The number of this one among them."""
    return dist.get_rank() if process_count() > 1 else 0


def summed(values: Tensor) -> Tensor:
    """`values`, on the training's device, added up over all processes; a new tensor where there are several."""
    if process_count() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


def agreed(*values: int) -> tuple[int, ...]:
    """The largest of each value over all processes: what one of them has seen, all know."""
    if process_count() == 1:
        return values
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    largest = torch.tensor(values, device=device)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return tuple(largest.tolist())
