"""Training tokens/s: our transformer against Hugging Face's GPT-2 and Llama of the same shape, in turn, in one process.

Both get the same random ids without padding (so every position is a real token), SDPA where the library takes it, tied
embeddings, gradient clipping and fused AdamW. GPT-2: LayerNorm, GELU, learned positions, biases, and dropout 0.1 in
embedding, attention and residual. Llama: RMSNorm, SwiGLU, rotary positions, no biases; no dropout, as is the library's
default. `relative` sets our relative positions beside our rotary ones, with our default dropout. Prints a Markdown row
each: medians over the pairs, and the ratio pair by pair.

    python benchmarks/train.py --what gpt2 llama relative --sizes "d256 L6" "d512 L6" --pairs 5
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from midifactory.models.layers import default_width
from midifactory.models.transformer import Transformer
from midifactory.training.loss import sequence_loss

SIZES = {"d256 L6": (256, 8, 6), "d512 L6": (512, 8, 6)}  # width, heads, layers
LIKE_LLAMA = {"norm": "rms", "feed_forward": "swiglu", "positions": "rotary", "bias": False, "dropout": 0.0}
Contender = tuple[str, torch.nn.Module]


def ours(name: str, vocab: int, length: int, **options: Any) -> Contender:
    """Our transformer of a size."""
    width, heads, layers = SIZES[name]
    return "ours", Transformer(vocab, width, heads, layers, context=length, **options)


def against_gpt2(name: str, vocab: int, length: int) -> list[Contender]:
    """Ours as GPT-2 is, and GPT-2."""
    width, heads, layers = SIZES[name]
    config = GPT2Config(
        vocab_size=vocab,
        n_positions=length,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        bos_token_id=1,
        eos_token_id=2,
        attn_implementation="sdpa",
        use_cache=False,
    )
    mine = ours(name, vocab, length, positions="learned", dropout=0.1, attention_dropout=0.1)
    return [mine, ("Hugging Face GPT-2", GPT2LMHeadModel(config))]


def against_llama(name: str, vocab: int, length: int) -> list[Contender]:
    """Ours as Llama is, and Llama."""
    width, heads, layers = SIZES[name]
    inner = default_width(width, "swiglu")
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=length,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
        use_cache=False,
    )
    mine = ours(name, vocab, length, d_ff=inner, **LIKE_LLAMA)
    return [mine, ("Hugging Face Llama", LlamaForCausalLM(config))]


def relative(name: str, vocab: int, length: int) -> list[Contender]:
    """Our relative positions, and our rotary ones."""
    (_, first), (_, second) = (ours(name, vocab, length, positions=kind) for kind in ("relative", "rotary"))
    return [("relative", first), ("rotary", second)]


CONTESTS = {"gpt2": against_gpt2, "llama": against_llama, "relative": relative}


def stepper(model: torch.nn.Module, ids: torch.Tensor) -> Callable[[], None]:
    """One optimiser step on `ids` (B, T + 1)."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, fused=True)
    model.train()

    def step() -> None:
        loss = sequence_loss(model(ids[:, :-1]).logits, ids[:, 1:])
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="*", default=["gpt2", "llama"], choices=list(CONTESTS))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps in each timing")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--vocab", type=int, default=863, help="863: REMI+ as configured in conf/tokenizer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| size | A | B | A, tokens/s | B, tokens/s | A is faster by, median (min to max) | parameters of A, B |")
    print("|---|---|---|---|---|---|---|")
    for what in arguments.what:
        for name in arguments.sizes:
            torch.manual_seed(0)
            ids = torch.randint(0, arguments.vocab, (arguments.batch, arguments.length + 1))
            contenders = CONTESTS[what](name, arguments.vocab, arguments.length)
            steps = [stepper(model, ids) for _, model in contenders]
            for step in steps:  # warm-up
                step()
            times = [[seconds(step, arguments.steps) for step in steps] for _ in range(arguments.pairs)]
            tokens = arguments.batch * arguments.length
            rates = [tokens / statistics.median(pair[i] for pair in times) for i in range(2)]
            ratios = sorted(other / mine for mine, other in times)
            sizes = [sum(parameter.numel() for parameter in model.parameters()) for _, model in contenders]
            print(
                f"| {name} | {contenders[0][0]} | {contenders[1][0]} | {rates[0]:,.0f} | {rates[1]:,.0f} "
                f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) "
                f"| {sizes[0]:,}, {sizes[1]:,} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
