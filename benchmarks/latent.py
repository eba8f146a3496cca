"""What a VAE keeps of held-out pieces, and how an interpolation between two of them moves.

For each held-out split of the run's own corpus: note F1 of whole pieces (encoded segment by segment, the posterior's
mean decoded greedily, the segments put together; a note counts where onset, pitch and program are those of the file as
tokens say it), nats of divergence per segment and the bound of nats per note; for consecutive pairs of pieces the
distances of each step of an interpolation to both ends. Prints JSON.

    python benchmarks/latent.py outputs/train/RUN [--pieces 36] [--pairs 8] [--steps 8]
"""

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from midifactory.cli import hydra_app  # noqa: F401 - registers the resolver that the configs name
from midifactory.cli.building import build_datamodule
from midifactory.cli.held_out import held_out_pieces, nats_per_note
from midifactory.cli.latent_pieces import read_piece
from midifactory.cli.runs import checkpoint_in, stored_overrides
from midifactory.data.datamodule import MidiDataModule
from midifactory.evaluation.reconstruction import Agreement, distances, mean_curve, note_agreement, rising_share
from midifactory.generation.latent import LatentPiece, encode_segments, mixed, require_latent
from midifactory.generation.pieces import compose_latents
from midifactory.generation.sampling import Sampling
from midifactory.models.vae import kl_nats
from midifactory.paths import conf_dir
from midifactory.training.checkpoint import Trained, load_trained

_GREEDY = Sampling(top_k=1)
_ROWS_AT_ONCE = 36


def open_run(run: Path) -> tuple[Trained, MidiDataModule]:
    """The run's best checkpoint and its data."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", [*stored_overrides(run), f"run_dir={run}"])
    data = build_datamodule(config)
    assert isinstance(data, MidiDataModule)
    data.setup()
    return load_trained(checkpoint_in(str(run))), data


def reconstruction(trained: Trained, pieces: list[LatentPiece]) -> Agreement:
    """The notes that whole pieces share with what the model makes of their latents."""
    total = Agreement(0, 0, 0)
    for start in range(0, len(pieces), _ROWS_AT_ONCE):
        some = pieces[start : start + _ROWS_AT_ONCE]
        latents, bars = [piece.latents for piece in some], [piece.bars for piece in some]
        for piece, made in zip(some, compose_latents(trained, latents, bars, _GREEDY), strict=True):
            total += note_agreement(piece.score, made.score)
    return total


def interpolation(trained: Trained, pairs: list[tuple[LatentPiece, LatentPiece]], steps: int) -> dict[str, Any]:
    """Mean distances to both ends at each step; shares of pairs' steps, and of the means', that go the right way."""
    shares = [step / (steps - 1) for step in range(steps)]
    curves: dict[str, list[list[float]]] = {}
    for first, last in pairs:
        latents, bars = zip(*(mixed(first, last, share) for share in shares), strict=True)
        scores = [piece.score for piece in compose_latents(trained, latents, bars, _GREEDY)]
        for end, piece in (("start", first), ("end", last)):
            found = [distances(piece.score, score) for score in scores]
            for kind in found[0]:
                curves.setdefault(f"{kind} to {end}", []).append([distance[kind] for distance in found])
    result: dict[str, Any] = {}
    for name, rows in curves.items():
        sign = 1 if name.endswith("start") else -1
        mean = mean_curve(rows)
        result[name] = {
            "mean": [round(value, 3) for value in mean],
            "mean_monotonic_steps": rising_share([sign * value for value in mean]),
            "pairs_monotonic_steps": float(np.mean([rising_share([sign * value for value in row]) for row in rows])),
        }
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's folder below outputs/train")
    parser.add_argument("--pieces", type=int, default=36, help="of each split")
    parser.add_argument("--pairs", type=int, default=8, help="of each split")
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    trained, data = open_run(arguments.run)
    model = require_latent(trained.model, "benchmarks/latent.py")
    paths = {piece.id: piece.path for piece in data.corpus.pieces}
    report: dict[str, Any] = {"parameters": model.parameters_count, "latent_size": model.latent_size}
    for split, pieces in held_out_pieces(data).items():
        read = [read_piece(trained, paths[name], "piece", "benchmark") for name, _, _ in pieces[: arguments.pieces]]
        agreement = reconstruction(trained, read)
        ids = [segment[:-1] for name, _, _ in pieces for segment in data.segment_ids(name)]
        mean, deviation = encode_segments(model, ids)
        report[split] = {
            "pieces": len(read),
            "notes": agreement.reference,
            "note_f1": round(agreement.f1, 4),
            "kl_nats_per_segment": round(float(kl_nats(mean, 2 * deviation.log()).sum(1).mean()), 2),
            "latent_deviation": round(float(mean.std(0).mean()), 3),
            "nats_per_note_bound": round(nats_per_note(model, data, pieces, trained.window), 4),
            "interpolation": interpolation(trained, list(pairwise(read))[: arguments.pairs], arguments.steps),
        }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
