"""The index of a whole corpus (music/originality.py): time to build, size, and seconds to compare a piece with it.

RUN is a run's folder of `midifactory prepare` or of a training, whose corpus.json names the prepared tokens. The index
is built from all pieces, decoded from these, as `midifactory prepare` does. What is compared: music at random, a piece
that stands in the index, one with every 20th pitch changed, and eight bars of one, transposed. `--held-out` indexes
the training pieces alone and compares the test pieces with them: what composers share. Medians and slowest. One core;
all seconds are of CPU time, so that other work beside it does not count.

    OMP_NUM_THREADS=1 python benchmarks/originality.py RUN [--held-out]
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Note, Score, Track

from midifactory.music.originality import Originality, OriginalityIndex, build_index
from midifactory.music.score import first_bars
from midifactory.tokens.store import TokenStore


def at_random(seed: int, notes: int) -> Score:
    """One note after the other on a grid of sixteenths."""
    generator, score, track = np.random.default_rng(seed), Score(480), Track()
    onset = 120 * np.cumsum(generator.integers(0, 4, notes))
    for tick, pitch in zip(onset.tolist(), generator.integers(40, 90, notes).tolist(), strict=True):
        track.notes.append(Note(tick, 120, pitch, 80))
    score.tracks.append(track)
    return score


def changed(score: Score) -> Score:
    """The Score with every 20th pitch moved by a step."""
    score = score.copy()
    for track in score.tracks:
        for note in track.notes[::20]:
            note.pitch = min(127, note.pitch + 1)
    return score


def find_store(run: Path, recorded: str) -> TokenStore:
    """The prepared tokens at a recorded path, from here or from any folder above the run."""
    for above in (Path(), *run.resolve().parents):
        if (above / recorded).is_dir():
            return TokenStore(above / recorded)
    raise SystemExit(f"{recorded} is not there")


def kinds_of(files: dict[str, Score]) -> dict[str, dict[str, Score]]:
    """What is compared."""
    return {
        "200 notes at random": {name: at_random(seed, 200) for seed, name in enumerate(files)},
        "5,000 notes at random": {name: at_random(seed, 5000) for seed, name in enumerate(files)},
        "eight bars of a piece, 5 semitones higher": {
            name: first_bars(score, 8).shift_pitch(5) for name, score in files.items()
        },
        "a whole piece": files,
        "a whole piece, every 20th pitch changed": {name: changed(score) for name, score in files.items()},
    }


def main() -> int:
    """Build, compare and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pieces", type=int, default=15, help="of each kind, of the held-out ones so many at most")
    parser.add_argument("--held-out", action="store_true")
    arguments = parser.parse_args()
    corpus: dict[str, Any] = json.loads((arguments.run / "corpus.json").read_text(encoding="utf-8"))
    store = find_store(arguments.run, corpus["store"])
    split = {piece["id"]: piece["split"] for piece in corpus["pieces"] if piece["id"] in store.pieces}
    indexed = [name for name in split if split[name] == "train" or not arguments.held_out]
    asked = [name for name in split if split[name] == "test"] if arguments.held_out else indexed
    seconds = {"decode": 0.0}

    def decoded() -> Iterator[tuple[str, Score]]:
        for name in indexed:
            start = time.process_time()
            score = store.tokenizer.decode(store.ids(name))
            seconds["decode"] += time.process_time() - start
            yield name, score

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "index"
        start = time.process_time()
        build_index(folder, decoded())
        total = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB, of the whole process
        size = sum(path.stat().st_size for path in folder.iterdir())
        start = time.process_time()
        originality = Originality([OriginalityIndex(folder)])
        opening = time.process_time() - start
        notes = len(np.load(folder / "notes.npy", mmap_mode="r"))
        print(
            "| corpus | pieces | notes | s to build | of it decoding | GB of memory | MB on disk | bytes a note | "
            "s to open |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        print(
            f"| {corpus['name']} | {len(indexed):,} | {notes:,} | {total:.1f} | {seconds['decode']:.1f} | "
            f"{peak / 2**20:.2f} | "
            f"{size / 1e6:.1f} | {size / notes:.1f} | {opening:.3f} |\n",
            flush=True,
        )
        chosen = [asked[i] for i in np.unique(np.linspace(0, len(asked) - 1, arguments.pieces).astype(int))]
        files = {name: store.tokenizer.decode(store.ids(name)) for name in chosen}
        print("| compared | notes | s | s, slowest | longest copy | transposed | its beats | n-grams | transposed |")
        print("|---|---|---|---|---|---|---|---|---|")
        for kind, scores in ({"a held-out piece": files} if arguments.held_out else kinds_of(files)).items():
            times, reports = [], []
            for score in scores.values():
                start = time.process_time()
                reports.append(originality.of(score))
                times.append(time.process_time() - start)
            rows = [
                (r.notes, r.exact.notes, r.transposed.notes, r.transposed.beats, r.ngrams, r.ngrams_transposed)
                for r in reports
                if r.exact and r.transposed
            ]
            count, exact, transposed, beats, ngrams, either = (
                statistics.median(part) for part in zip(*rows, strict=True)
            )
            print(
                f"| {kind} | {count:,.0f} | {statistics.median(times):.3f} | {max(times):.3f} | {exact:,.0f} | "
                f"{transposed:,.0f} | {beats:.1f} | {ngrams:.1%} | {either:.1%} |",
                flush=True,
            )
        if arguments.held_out:
            print(f"\n{chosen[0]}: {reports[0].line()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
