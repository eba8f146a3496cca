"""What 8 bits cost: nats per note of MIDI files under a checkpoint, as it is and quantised.

Whole files, read as evaluation does, with weights of 8 bits; and each file's first window, read token by token as
generation does, with keys and values of 8 bits, too, where there is a native step.

    python benchmarks/int8.py outputs/demo/checkpoints/best.ckpt outputs/corpora/bach_chorales --limit 40

Give files that were not trained on, such as the test pieces that a run's corpus.json names (--split test reads it).
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from midifactory.evaluation.likelihood import piece_nats
from midifactory.models.interface import SequenceModel
from midifactory.models.quantise import quantise
from midifactory.music.score import load_score
from midifactory.training.checkpoint import load_trained


@torch.inference_mode()
def stepped_nats(model: SequenceModel, ids: np.ndarray) -> float:
    """Minus the log-likelihood of ids (T,) after the first, each told from the state that the others left."""
    state, nats = model.new_state(1, len(ids)), 0.0
    for token, following in pairwise(ids):
        logits = model(torch.tensor([[int(token)]]), state).logits[0, -1]
        nats -= float(logits.log_softmax(-1)[int(following)])
    return nats


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--corpus", type=Path, help="a run's corpus.json: take the pieces of one split alone")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=40)
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in {".mid", ".midi"})
    if arguments.corpus:
        listed = json.loads(arguments.corpus.read_text())["pieces"]
        names = {row["id"].rpartition("/")[2] for row in listed if row["split"] == arguments.split}
        paths = [path for path in paths if path.stem in names]
    trained = load_trained(arguments.checkpoint, torch.device("cpu"))
    models = {"32 bits": trained.model, "8 bits": quantise(trained.model)}
    nats, stepped, notes, tokens = dict.fromkeys(models, 0.0), dict.fromkeys(models, 0.0), 0, 0
    for path in paths[: arguments.limit]:
        score = load_score(path)
        ids = trained.tokenizer.to_model_ids(trained.tokenizer.encode(score).ids)
        notes += score.note_num()
        for name, model in models.items():
            nats[name] += piece_nats(model, ids, trained.window)
            stepped[name] += stepped_nats(model, ids[: trained.window])
        tokens += len(ids[: trained.window]) - 1
    per_note = {name: value / notes for name, value in nats.items()}
    print(f"{min(len(paths), arguments.limit)} pieces, {notes:,} notes")
    for name, value in per_note.items():
        print(f"{name}: {value:.4f} nats per note ({value / per_note['32 bits'] - 1:+.3%})")
    print(f"token by token, {tokens:,} tokens")
    for name, value in stepped.items():
        print(f"{name}: {value / tokens:.4f} nats per token ({value / stepped['32 bits'] - 1:+.3%})")


if __name__ == "__main__":
    main()
