"""Training tokens/s: our transformer against Hugging Face GPT-2 of the same shape, in turn, in one process.

Both get the same random ids without padding (so every position is a real token), SDPA attention, the same dropout,
gradient clipping and fused AdamW. Prints a Markdown row per size: medians over the pairs, and the ratio pair by pair.

    python benchmarks/train.py --pairs 5
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from midifactory.models.transformer import Transformer
from midifactory.training.loss import sequence_loss

SIZES = {"d256 L6": (256, 8, 6), "d512 L6": (512, 8, 6)}


def trainer(
    model: torch.nn.Module, loss_of: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor
) -> Callable[[], None]:
    """One optimiser step on `ids` (B, T + 1)."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, fused=True)
    model.train()

    def step() -> None:
        loss = loss_of(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def seconds(step: Callable[[], None], steps: int) -> float:
    """Wall seconds of one step, the mean over `steps`."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps in each timing")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--vocab", type=int, default=863, help="863: REMI+ as configured in conf/tokenizer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", nargs="*", default=["d256 L6"], choices=list(SIZES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print("| size | ours, tokens/s | Hugging Face GPT-2, tokens/s | ratio, median (min to max) |")
    print("|---|---|---|---|")
    for name in arguments.sizes:
        width, heads, layers = SIZES[name]
        ids = torch.randint(0, arguments.vocab, (arguments.batch, arguments.length + 1))
        ours = Transformer(
            arguments.vocab, width, heads, layers, context=arguments.length, dropout=0.1, attention_dropout=0.1
        )
        config = GPT2Config(
            vocab_size=arguments.vocab,
            n_positions=arguments.length,
            n_embd=width,
            n_layer=layers,
            n_head=heads,
            attn_implementation="sdpa",
            use_cache=False,
        )
        peer = GPT2LMHeadModel(config)
        steps = (
            trainer(ours, lambda batch, model=ours: sequence_loss(model(batch[:, :-1]).logits, batch[:, 1:]), ids),
            trainer(peer, lambda batch, model=peer: peer_loss(model, batch), ids),
        )
        for step in steps:  # warm-up
            step()
        times = [tuple(seconds(step, arguments.steps) for step in steps) for _ in range(arguments.pairs)]
        tokens = arguments.batch * arguments.length
        rates = [tokens / statistics.median(pair[i] for pair in times) for i in range(2)]
        ratios = sorted(theirs / mine for mine, theirs in times)
        print(
            f"| {name} | {rates[0]:,.0f} | {rates[1]:,.0f} "
            f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |",
            flush=True,
        )


def peer_loss(model: GPT2LMHeadModel, batch: torch.Tensor) -> torch.Tensor:
    """GPT-2's mean loss on the same inputs and labels."""
    logits = model(input_ids=batch[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


if __name__ == "__main__":
    main()
