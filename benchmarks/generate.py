"""Generation tokens/s: our engine against Hugging Face `generate`, in turn, in one process, and what a long row costs.

256 new tokens from a prompt of 16 with top-k 50 and top-p 0.95, no early end. Both hold the same weights of one GPT-2
(the peer's, copied), so both compute the same logits, which is checked. Our engine runs without a grammar, since the
peer has none; in single precision, and with weights of 8 bits. Prints Markdown tables: medians over the pairs, and the
ratios pair by pair; then milliseconds for one more token of a row at several lengths.

    python benchmarks/generate.py --pairs 5
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from midifactory.generation.engine import Engine, Free, Row
from midifactory.generation.sampling import Sampling
from midifactory.models.interface import SequenceModel
from midifactory.models.quantise import quantise
from midifactory.models.transformer import Transformer

SIZES = {"d256 L6": (256, 8, 6), "d512 L6": (512, 8, 6)}
PROMPT_TOKENS = 16
CONTEXT = 2048
PLACES = (100, 500, 1000, 2000)
REPEATS = 21


def build(vocab: int, width: int, heads: int, layers: int, context: int) -> tuple[Transformer, GPT2LMHeadModel]:
    """The two models, of the same weights."""
    config = GPT2Config(
        vocab_size=vocab,
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        activation_function="gelu",
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
        attn_implementation="sdpa",
    )
    peer = GPT2LMHeadModel(config).eval()
    ours = Transformer(vocab, width, heads, layers, context=context, positions="learned").eval()
    theirs = peer.transformer
    weights = {"inputs.tokens": theirs.wte, "positions.table": theirs.wpe, "norm": theirs.ln_f, "head": theirs.wte}
    for index, block in enumerate(theirs.h):
        weights |= {
            f"blocks.{index}.norm_attention": block.ln_1,
            f"blocks.{index}.attention.qkv": block.attn.c_attn,
            f"blocks.{index}.attention.residual": block.attn.c_proj,
            f"blocks.{index}.norm_feed_forward": block.ln_2,
            f"blocks.{index}.feed_forward.rise": block.mlp.c_fc,
            f"blocks.{index}.feed_forward.residual": block.mlp.c_proj,
        }
    copied = {}
    for name, module in weights.items():
        for kind, values in module.named_parameters():
            # GPT-2 keeps the matrices of its linear layers the other way round.
            copied[f"{name}.{kind}"] = values.T if values.dim() == 2 and type(module).__name__ == "Conv1D" else values
    ours.load_state_dict(copied)
    assert ours.parameters_count == peer.num_parameters()
    ids = torch.randint(3, vocab, (2, PROMPT_TOKENS))
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids).logits, peer(ids).logits, rtol=1e-3, atol=1e-4)
    return ours, peer


def seconds(run: Callable[[], int], expected: int) -> float:
    """Wall seconds of one run, which must give `expected` new tokens."""
    start = time.perf_counter()
    produced = run()
    elapsed = time.perf_counter() - start
    assert produced == expected, f"{produced} tokens, expected {expected}"
    return elapsed


def against_the_peer(ours: Transformer, peer: GPT2LMHeadModel, batch: int, new: int, pairs: int) -> str:
    """Cells of a row: tokens/s of ours, of ours with weights of 8 bits, of the peer, and both ratios."""
    prompt = torch.randint(3, ours.vocab_size, (PROMPT_TOKENS,)).tolist()

    def run_ours(model: SequenceModel) -> int:
        rows = [Row(prompt, Free(new), Sampling(1.0, 50, 0.95), (0, row)) for row in range(batch)]
        return sum(map(len, Engine(model, ours.context).run(rows)))

    def run_peer() -> int:
        ids = torch.tensor([prompt] * batch)
        with torch.inference_mode():
            out = peer.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                top_k=50,
                top_p=0.95,
                min_new_tokens=new,
                max_new_tokens=new,
            )
        assert isinstance(out, torch.Tensor)
        return out.numel() - ids.numel()

    small = quantise(ours)
    runs = (lambda: run_ours(ours), lambda: run_ours(small), run_peer)
    for run in runs:  # warm-up
        run()
    times = [[seconds(run, batch * new) for run in runs] for _ in range(pairs)]
    cells = [f"{batch * new / statistics.median(column):,.0f}" for column in zip(*times, strict=True)]
    for index in range(2):
        ratios = sorted(row[2] / row[index] for row in times)
        cells.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return " | ".join(cells)


@torch.inference_mode()
def by_length(model: Transformer) -> str:
    """Cells of a row: milliseconds of the model's step at PLACES, the growth from the first to the last, the memory."""
    state, found = model.new_state(1, CONTEXT), []
    for place in PLACES:
        model(torch.randint(3, model.vocab_size, (1, place - REPEATS // 2 - state.lengths[0])), state)
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            model(torch.randint(3, model.vocab_size, (1, 1)), state)
            times.append(time.perf_counter() - start)
        found.append(statistics.median(times) * 1e3)
    megabytes = sum(part.nbytes for layer in state.layers for part in layer) / 1e6
    return " | ".join([*(f"{value:.2f}" for value in found), f"{found[-1] / found[0]:.2f}", f"{megabytes:.1f}"])


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 16])
    parser.add_argument("--vocab", type=int, default=863, help="863: REMI+ as configured in conf/tokenizer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    new = arguments.new_tokens
    print("| size | weights | batch | fp32 | int8 | Hugging Face | fp32 is faster by | int8 is faster by |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.sizes:
        ours, peer = build(arguments.vocab, *SIZES[name], PROMPT_TOKENS + new + 1)
        for batch in arguments.batches:
            cells = against_the_peer(ours, peer, batch, new, arguments.pairs)
            print(f"| {name} | {ours.parameters_count:,} | {batch} | {cells} |", flush=True)
    heads = " | ".join(f"{place}" for place in PLACES)
    print(f"\n| size | weights | {heads} | grows by | MB a row |\n|---|---|---|---|---|---|---|---|")
    for name in arguments.sizes:
        model = Transformer(arguments.vocab, *SIZES[name], context=CONTEXT).eval()
        for kind, one in (("fp32", model), ("int8", quantise(model))):
            print(f"| {name} | {kind} | {by_length(one)} |", flush=True)


if __name__ == "__main__":
    main()
