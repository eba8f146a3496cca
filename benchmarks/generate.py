"""Generation tokens/s: our engine against Hugging Face `generate` with the same shapes, in turn, in one process.

256 new tokens from a prompt of 16 with top-k 50 and top-p 0.95, no early end, fp32. Our engine runs without a grammar,
since the peer has none. Prints a Markdown row per size and batch: medians over the pairs, and the ratio pair by pair.

    python benchmarks/generate.py --pairs 5
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from midifactory.generation.engine import Engine, Free
from midifactory.generation.sampling import Sampling
from midifactory.models.transformer import Transformer

SIZES = {"d256 L6": (256, 8, 6), "d512 L6": (512, 8, 6)}
PROMPT_TOKENS = 16


def seconds(run: Callable[[], int], expected: int) -> float:
    """Wall seconds of one run, which must give `expected` new tokens."""
    start = time.perf_counter()
    produced = run()
    elapsed = time.perf_counter() - start
    assert produced == expected, f"{produced} tokens, expected {expected}"
    return elapsed


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 16])
    parser.add_argument("--vocab", type=int, default=863, help="863: REMI+ as configured in conf/tokenizer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", nargs="*", default=["d256 L6"], choices=list(SIZES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    new, vocab = arguments.new_tokens, arguments.vocab
    print("| size | batch | ours, tokens/s | Hugging Face generate, tokens/s | ratio, median (min to max) |")
    print("|---|---|---|---|---|")
    for name in arguments.sizes:
        width, heads, layers = SIZES[name]
        context = PROMPT_TOKENS + new + 1
        ours = Engine(Transformer(vocab, width, heads, layers, context=context), context)
        config = GPT2Config(
            vocab_size=vocab,
            n_positions=context,
            n_embd=width,
            n_layer=layers,
            n_head=heads,
            bos_token_id=1,
            eos_token_id=None,
            pad_token_id=0,
            attn_implementation="sdpa",
        )
        peer = GPT2LMHeadModel(config).eval()
        prompt = torch.randint(3, vocab, (PROMPT_TOKENS,)).tolist()
        for batch in arguments.batches:

            def run_ours(batch: int = batch, engine: Engine = ours, prompt: list[int] = prompt) -> int:
                guides = [Free(new) for _ in range(batch)]
                return sum(map(len, engine.run(prompt, guides, Sampling(1.0, 50, 0.95))))

            def run_peer(batch: int = batch, model: GPT2LMHeadModel = peer, prompt: list[int] = prompt) -> int:
                ids = torch.tensor([prompt] * batch)
                with torch.inference_mode():
                    out = model.generate(
                        ids,
                        attention_mask=torch.ones_like(ids),
                        do_sample=True,
                        top_k=50,
                        top_p=0.95,
                        min_new_tokens=new,
                        max_new_tokens=new,
                    )
                return out.numel() - ids.numel()

            runs = (run_ours, run_peer)
            for run in runs:  # warm-up
                run()
            times = [tuple(seconds(run, batch * new) for run in runs) for _ in range(arguments.pairs)]
            rates = [batch * new / statistics.median(pair[i] for pair in times) for i in range(2)]
            ratios = sorted(theirs / mine for mine, theirs in times)
            print(
                f"| {name} | {batch} | {rates[0]:,.0f} | {rates[1]:,.0f} "
                f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
