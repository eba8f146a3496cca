"""Generation tokens/s: our engine against Hugging Face `generate`, in turn, in one process, and what a long row costs.

256 new tokens from a prompt of 16 with top-k 50 and top-p 0.95, no early end. Both hold the same weights of one GPT-2
(the peer's, copied), so both compute the same logits, which is checked. Our engine runs without a grammar, since the
peer has none; in single precision, and with weights of 8 bits. Prints Markdown tables: medians over the pairs, and the
ratios pair by pair; then milliseconds for one more token of a row at several lengths. With --music, what the grammar
of conf/tokenizer/remi_plus costs: rows that draw a token at every step, with and without it, and then go on as the
pieces of that folder do, since the cost hangs on the music.

    python benchmarks/generate.py --pairs 5 --music FOLDER
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from transformers import GPT2Config, GPT2LMHeadModel

from midifactory.generation.engine import Engine, Free, Row
from midifactory.generation.guide import Length, MusicGuide
from midifactory.generation.sampling import Sampling
from midifactory.models.interface import SequenceModel
from midifactory.models.quantise import quantise
from midifactory.models.transformer import Transformer
from midifactory.music.score import load_score
from midifactory.paths import conf_dir
from midifactory.tokens.grid_walk import walk_maker
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Controls
from midifactory.tokens.walker import Walker

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


class AsWritten(Free):
    """Whatever was drawn, the row goes on as `ids`."""

    def __init__(self, ids: Sequence[int]):
        super().__init__(len(ids))
        self.ids = iter(ids)

    def take(self, token: int) -> int | None:
        """The next one of ids."""
        return next(self.ids, None)


class LawfulAsWritten(MusicGuide):
    """The same under a grammar: what is lawful is asked at every step."""

    def __init__(self, walk: Walker, ids: Sequence[int]):
        super().__init__(walk, Length(tokens=len(ids)))
        self.ids = iter(ids)

    def take(self, token: int) -> int | None:
        """The next one of ids."""
        following = next(self.ids, None)
        return None if following is None else super().take(following)


def grammar_cost(model: Transformer, tokenizer: Tokenizer, pieces: Sequence[list[int]], new: int, pairs: int) -> str:
    """Cells of a row: ms a step of so many rows without the grammar and with it, and what it costs, pair by pair."""
    start, engine = walk_maker(tokenizer, Controls())(), Engine(model, CONTEXT)
    start.step(tokenizer.bos_id)

    def run(lawful: bool) -> int:
        written = [ids[1 : 1 + new] for ids in pieces]
        guides = [LawfulAsWritten(start.copy(), ids) if lawful else AsWritten(ids) for ids in written]
        sampling = Sampling(1.0, 50, 0.95)
        rows = [Row([tokenizer.bos_id], guide, sampling, (0, row)) for row, guide in enumerate(guides)]
        return sum(map(len, engine.run(rows)))

    runs, expected = (lambda: run(False), lambda: run(True)), len(pieces) * new
    times = [[seconds(one, expected) for one in runs] for _ in range(pairs + 1)][1:]  # the first one warms up
    cells = [f"{statistics.median(column) / new * 1e3:.2f}" for column in zip(*times, strict=True)]
    costs = sorted(lawful / plain - 1 for plain, lawful in times)
    return " | ".join([*cells, f"{statistics.median(costs):+.1%} ({costs[0]:+.1%} to {costs[-1]:+.1%})"])


def read_pieces(folder: Path, tokenizer: Tokenizer, count: int, length: int) -> list[list[int]]:
    """Model ids of the first pieces of a folder that are long enough."""
    found: list[list[int]] = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".mid", ".midi"}):
        ids = tokenizer.to_model_ids(tokenizer.encode(load_score(path)).ids).tolist()
        if len(ids) > length + 2:
            found.append(ids)
        if len(found) == count:
            return found
    raise SystemExit(f"{folder}: fewer than {count} pieces of {length} tokens")


@torch.inference_mode()
def by_length(model: Transformer, whole: bool) -> str:
    """Cells of a row: milliseconds of a token at PLACES, the growth from the first to the last, a row's megabytes.

    whole: of the engine, sampling included; else of the model's step alone.
    """
    engine, found = Engine(model, CONTEXT), []
    for place in PLACES:
        ids, times = torch.randint(3, model.vocab_size, (1, place - REPEATS // 2)), []
        batch, state = engine.batch(), model.new_state(1, CONTEXT)
        if whole:
            batch.join([Row(ids[0].tolist(), Free(CONTEXT), Sampling(1.0, 50, 0.95))])
        else:
            model(ids, state)
        for _ in range(REPEATS):
            token = torch.randint(3, model.vocab_size, (1, 1))
            start = time.perf_counter()
            if whole:
                batch.step()
            else:
                model(token, state)
            times.append(time.perf_counter() - start)
        found.append(statistics.median(times) * 1e3)
    cells = [*(f"{value:.2f}" for value in found), f"{found[-1] / found[0]:.2f}", f"{engine.bytes_per_row() / 1e6:.1f}"]
    return " | ".join(cells)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 16])
    parser.add_argument("--vocab", type=int, default=863, help="863: REMI+ as configured in conf/tokenizer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--music", type=Path, help="a folder of MIDI files, for what the grammar costs")
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
    models = {name: Transformer(arguments.vocab, *SIZES[name], context=CONTEXT).eval() for name in arguments.sizes}
    heads = " | ".join(f"{place}" for place in PLACES)
    print(f"\n| size | weights | time of | {heads} | grows by | MB a row |\n|---|---|---|---|---|---|---|---|---|")
    for name, model in models.items():
        for kind, one in (("fp32", model), ("int8", quantise(model))):
            for whole, what in ((False, "the step"), (True, "the engine")):
                print(f"| {name} | {kind} | {what} | {by_length(one, whole)} |", flush=True)
    if arguments.music is None:
        return
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        tokenizer = instantiate(compose("train").tokenizer, _convert_="all")
    print("\n| size | batch | ms a step without the grammar | with it | it costs |\n|---|---|---|---|---|")
    for name in arguments.sizes:
        model = Transformer(tokenizer.vocab_size, *SIZES[name], context=CONTEXT).eval()
        for batch in arguments.batches:
            pieces = read_pieces(arguments.music, tokenizer, batch, new)
            print(f"| {name} | {batch} | {grammar_cost(model, tokenizer, pieces, new, arguments.pairs)} |", flush=True)


if __name__ == "__main__":
    main()
