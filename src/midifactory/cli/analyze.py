"""`midifactory analyze`: what a corpus sounds like, before a model hears it."""

import json
import sys
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from midifactory import files
from midifactory.cli import hydra_app
from midifactory.cli.building import print_rejected
from midifactory.music.score import load_score
from midifactory.music.statistics import corpus_statistics, histograms, piece_statistics
from midifactory.render.plots import save_corpus_plots


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("analyze", analyze, sys.argv[1:] if argv is None else argv)


def analyze(config: DictConfig) -> Path:
    """Write analysis.json (per piece and over all) and analysis.png; print a table. Returns the picture."""
    corpus = instantiate(config.data.source).collect()
    scores = [load_score(piece.path) for piece in corpus.pieces]
    rows = [piece_statistics(score) for score in tqdm(scores, desc="analyse", unit="piece")]
    overall, panels = corpus_statistics(rows), histograms(scores)
    folder = Path(config.run_dir)
    pieces = [{"id": piece.id, **row} for piece, row in zip(corpus.pieces, rows, strict=True)]
    listing = {
        "name": corpus.name,
        "statistics": overall,
        "histograms": panels,
        "pieces": pieces,
        "rejected": [{"path": str(item.path), "reason": item.reason} for item in corpus.rejected],
    }
    files.write_text(folder / "analysis.json", json.dumps(listing, ensure_ascii=False, indent=1))
    picture = folder / "analysis.png"
    save_corpus_plots(panels, picture, f"{corpus.name}: {len(rows)} pieces")
    print(corpus.summary())
    print_rejected(corpus)
    print(f"{'statistic':32} {'5 %':>10} {'median':>10} {'95 %':>10}")
    for name, row in overall.items():
        if row["median"] is not None:
            print(f"{name:32} {row['p5']:10.2f} {row['median']:10.2f} {row['p95']:10.2f}")
    print(f"picture: {picture.resolve()}", f"numbers: {(folder / 'analysis.json').resolve()}", sep="\n")
    return picture
