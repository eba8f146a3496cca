"""`midifactory benchmark generate`: how fast a checkpoint composes here, what the grammar costs, what a row takes."""

import statistics
import time
from collections.abc import Iterable

import torch

from midifactory.cli.building import default_device
from midifactory.cli.hydra_app import report
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.errors import UserError
from midifactory.generation.engine import Engine, Free, Guide, Row
from midifactory.generation.guide import Length, MusicGuide
from midifactory.generation.sampling import Sampling
from midifactory.models.interface import SequenceModel
from midifactory.models.quantise import quantise
from midifactory.tokens.grid_walk import walk_maker
from midifactory.tokens.walk import Controls
from midifactory.tokens.walker import Walker
from midifactory.training.checkpoint import load_trained

USAGE = """usage: midifactory benchmark generate [checkpoint=FILE] [device=auto] [batches=1,16] [tokens=256] [repeats=5]

Composes `tokens` ids in so many rows at once, `repeats` times in turn with and without the grammar, with the weights as
they are and with weights of 8 bits; prints medians. checkpoint: the newest run's best where it is left out."""
_DEFAULTS = {"checkpoint": "", "device": "auto", "batches": "1,16", "tokens": "256", "repeats": "5"}
_SAMPLING = Sampling(1.0, 50, 0.95)


def main(argv: list[str] | None = None) -> int:
    """Print the table; returns 0, or `report`'s code for what went wrong."""
    words = argv or []
    if any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return 0
    try:
        _measure(_options(words))
    except Exception as error:
        return report(error)
    return 0


def _options(words: Iterable[str]) -> dict[str, str]:
    """What was typed over the defaults. Raises UserError for anything else."""
    what, *rest = [*words, ""]
    if what != "generate":
        raise UserError(f"benchmark {what or 'nothing'}: type midifactory benchmark generate")
    options = dict(_DEFAULTS)
    for word in filter(None, rest):
        name, given, value = word.partition("=")
        if not given or name not in options:
            raise UserError(f"{word}: benchmark generate takes {', '.join(f'{known}=...' for known in options)}")
        options[name] = value
    for name in ("tokens", "repeats", "batches"):
        if not all(part.isdigit() and int(part) for part in options[name].strip("[]").split(",")):
            raise UserError(f"{name}={options[name]}: give a whole number of at least 1, such as {_DEFAULTS[name]}")
    return options


def _measure(options: dict[str, str]) -> None:
    path = checkpoint_in(options["checkpoint"]) if options["checkpoint"] else newest_checkpoint()
    trained = load_trained(path, default_device(options["device"], "device"))
    tokens, repeats = int(options["tokens"]), int(options["repeats"])
    if trained.model.context is not None and tokens + 1 >= min(trained.window, trained.model.context):
        raise UserError(f"tokens={tokens}: the model's window holds {trained.window}; give fewer")
    models: dict[str, SequenceModel] = {"as they are": trained.model}
    window = Engine(trained.model, trained.window)
    if window.device.type == "cpu":
        models["8 bits"] = quantise(trained.model)
    print(f"{path}: {type(trained.model).__name__}, {trained.model.parameters_count:,} parameters, on {window.device}")
    print(f"a row takes {window.bytes_per_row() / 1e6:.1f} MB at its full window of {trained.window} tokens")
    print("\n| rows | weights | ids/s | ms a step | with the grammar | ms a step | it costs |")
    print("|---|---|---|---|---|---|---|")
    walk = walk_maker(trained.tokenizer, Controls())()
    walk.step(trained.tokenizer.bos_id)
    for batch in (int(part) for part in options["batches"].strip("[]").split(",")):
        window.refuse_too_many(batch)
        for name, model in models.items():
            engine = Engine(model, trained.window)
            times = [
                [_seconds(engine, walk, batch, tokens, lawful) for lawful in (False, True)] for _ in range(repeats + 1)
            ][1:]  # the first one warms up
            plain, lawful = (statistics.median(column) for column in zip(*times, strict=True))
            cost = statistics.median(both[1] / both[0] - 1 for both in times)
            print(
                f"| {batch} | {name} | {batch * tokens / plain:,.0f} | {plain / tokens * 1e3:.2f} "
                f"| {batch * tokens / lawful:,.0f} | {lawful / tokens * 1e3:.2f} | {cost:+.1%} |",
                flush=True,
            )


def _seconds(engine: Engine, walk: Walker, batch: int, tokens: int, lawful: bool) -> float:
    """Seconds for so many ids in each row, with the walk's grammar or without."""
    size = getattr(engine.model, "latent_size", None)
    rows = []
    for number in range(batch):
        guide: Guide = MusicGuide(walk.copy(), Length(tokens=tokens)) if lawful else Free(tokens)
        latent = None if size is None else torch.zeros(size)
        rows.append(Row([walk.tokenizer.bos_id], guide, _SAMPLING, (0, number), latent=latent))
    start = time.perf_counter()
    said = engine.run(rows)
    if engine.device.type == "cuda":
        torch.cuda.synchronize()
    elapsed = time.perf_counter() - start
    # A row of a scheme that writes tracks may end earlier: what counts is the time of an id.
    return elapsed * batch * tokens / sum(map(len, said))
