"""Step time of our transformer, eager and by torch.compile, in turn, in one process.

Both train the same weights on the same random ids: forward, backward, clipping and fused AdamW, as `compile=true` does
it (the forward pass is compiled, with dynamic shapes). Prints a Markdown row for each size: seconds to compile, medians
over the pairs, and the ratio pair by pair.

    python benchmarks/compile.py --sizes "d256 L6" --pairs 5 --device cpu
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch

from midifactory.models.transformer import Transformer
from midifactory.training.loss import sequence_loss

SIZES = {"d32 L1": (32, 2, 1), "d256 L6": (256, 8, 6), "d512 L6": (512, 8, 6)}  # width, heads, layers


def stepper(model: Transformer, ids: torch.Tensor, compiled: bool) -> Callable[[], None]:
    """One optimiser step on `ids` (B, T + 1)."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, fused=True)
    forward = torch.compile(model.forward, dynamic=True) if compiled else model
    model.train()

    def step() -> None:
        sequence_loss(forward(ids[:, :-1]).logits, ids[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def seconds(step: Callable[[], None], steps: int, device: str) -> float:
    """Wall seconds of one step, the mean over `steps`."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps in each timing")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--vocab", type=int, default=863, help="863: REMI+ as configured in conf/tokenizer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--sizes", nargs="*", default=["d256 L6", "d512 L6"], choices=list(SIZES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    columns = ("size", "device", "eager, ms a step", "compiled, ms a step")
    print("|", " | ".join((*columns, "compiled is faster by, median (min to max)", "s to compile")), "|")
    print("|---|---|---|---|---|---|")
    for name in arguments.sizes:
        width, heads, layers = SIZES[name]
        torch.manual_seed(0)
        model = Transformer(arguments.vocab, width, heads, layers, context=arguments.length).to(arguments.device)
        ids = torch.randint(0, arguments.vocab, (arguments.batch, arguments.length + 1), device=arguments.device)
        eager, compiled = stepper(model, ids, False), stepper(copy.deepcopy(model), ids, True)
        eager()
        compiling = seconds(compiled, 1, arguments.device)
        pairs = [
            tuple(seconds(step, arguments.steps, arguments.device) for step in (eager, compiled))
            for _ in range(arguments.pairs)
        ]
        times = [1000 * statistics.median(pair[i] for pair in pairs) for i in range(2)]
        ratios = sorted(plain / fast for plain, fast in pairs)
        print(
            f"| {name} | {arguments.device} | {times[0]:.0f} | {times[1]:.0f} "
            f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | {compiling:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
