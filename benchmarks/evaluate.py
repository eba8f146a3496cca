"""How long `midifactory evaluate` takes, part by part: a transformer of random weights over a whole test split.

What is timed is the command's own functions; how long a model takes does not depend on what it has learnt. Prints
JSON: the parameters, pieces, notes and tokens, the window and its stride, threads, and the seconds of each part.
The first run on a corpus prepares it, which is counted apart.

    python benchmarks/evaluate.py data=maestro_v2 data.root=FOLDER [tokenizer=remi_plus] [--d-model 192] [--layers 4]
        [--window 1023] [--stride 512] [--pieces 178] [--threads 2]
"""

import argparse
import json
import sys
import time
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from midifactory.cli import hydra_app  # noqa: F401 - registers the resolver that the configs name
from midifactory.cli.evaluate import held_out, measure_baselines, open_data, training_ids, what_is_dropped
from midifactory.cli.held_out import measure
from midifactory.evaluation.held_out import likelihood_report
from midifactory.evaluation.likelihood import advance_of
from midifactory.models.transformer import Transformer
from midifactory.paths import conf_dir


class Clock:
    """The seconds of each part, by its name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """What has passed since the last lap."""
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 1)
        self._last = now


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="+")
    for name, value in (("d-model", 192), ("heads", 6), ("layers", 4), ("window", 1023), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--stride", type=int)
    parser.add_argument("--pieces", type=int, help="of the test split, the first so many")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("evaluate", [*arguments.overrides, "baseline=5-gram", "run_dir=."])
    clock = Clock()
    data = open_data(config, None)
    clock.lap("prepare")
    pieces = held_out(data, "test")[: arguments.pieces]
    clock.lap("read the test pieces")
    training = training_ids(data, config.ngram_pieces)
    baselines, sizes = measure_baselines(pieces, training, data.tokenizer.vocab_size)
    clock.lap("5-gram and other baselines")
    torch.manual_seed(0)
    size = {"d_model": arguments.d_model, "heads": arguments.heads, "layers": arguments.layers}
    model = Transformer(data.tokenizer.vocab_size, context=arguments.window, **size).eval()
    ids = [(piece.id, piece.ids) for piece in pieces]
    nats = measure(model, data, ids, arguments.window, arguments.stride)
    clock.lap("model")
    ones = data.tokenizer.summed_parts(torch.ones(data.tokenizer.base_vocab_size, dtype=torch.int64).numpy())
    report = likelihood_report(pieces, nats, baselines, data.tokenizer.model_types, ones)
    clock.lap("report and intervals")
    what_is_dropped(data, "test")
    clock.lap("what the tokens lose")
    seconds = clock.seconds
    result: dict[str, Any] = {
        "corpus": data.corpus_name,
        "model": size | {"parameters": model.parameters_count},
        "window_tokens": arguments.window,
        "stride_tokens": advance_of(arguments.window, arguments.stride),
        "pieces": len(pieces),
        "notes": sum(piece.notes for piece in pieces),
        "tokens": sum(piece.tokens for piece in pieces),
        "training_tokens": sum(map(len, training)),
        "grams": sizes.get("5-gram"),
        "threads": arguments.threads,
        "seconds": seconds,
        "minutes_without_preparing": round((sum(seconds.values()) - seconds["prepare"]) / 60, 2),
        "5-gram_nats_per_note": report["baselines"]["5-gram"]["nats_per_note"],
    }
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
