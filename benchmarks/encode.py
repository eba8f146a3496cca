"""Encoding ms per file: FastRemi against MidiTok's own REMI on the same parsed Scores, in turn, in one process.

Both go from a Score as it is read from a file to base ids: resampling, quantising, chords, ordering. Each round times
both on every Score, and the order alternates from round to round. First the ids and ticks of both are compared; the
exit status is 1 where a file differs. Prints a Markdown row per folder: medians over the rounds, and the ratio round
by round. One core: neither side uses threads of its own.

    OMP_NUM_THREADS=1 python benchmarks/encode.py data/maestro data/pop909 --files 50
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from symusic import Score

from midifactory.music.score import UnreadableMidi, load_score
from midifactory.paths import conf_dir
from midifactory.tokens.fast_remi import FastRemi
from midifactory.tokens.tokenizer import Tokenizer

Tokens = tuple[list[int] | np.ndarray, list[int] | np.ndarray]  # ids and ticks


def load(folder: Path, count: int) -> list[Score]:
    """Up to `count` readable scores, spread evenly over the folder's MIDI files."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".mid", ".midi"})
    scores = []
    for index in np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)):
        try:
            scores.append(load_score(paths[index]))
        except UnreadableMidi:
            continue
    return scores


def differing(scores: list[Score], miditok: Callable[[Score], Tokens], ours: Callable[[Score], Tokens]) -> int:
    """Files whose ids or ticks differ."""
    return sum(
        not all(map(np.array_equal, pair[0], pair[1])) for pair in ((miditok(score), ours(score)) for score in scores)
    )


def milliseconds(encode: Callable[[Score], Tokens], scores: list[Score]) -> float:
    """Wall milliseconds per file."""
    start = time.perf_counter()
    for score in scores:
        encode(score)
    return (time.perf_counter() - start) / len(scores) * 1000


def main() -> int:
    """Compare, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--files", type=int, default=50, help="at most so many of each folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokenizer", default="remi_plus", help="a name in conf/tokenizer")
    arguments = parser.parse_args()
    fields = OmegaConf.to_container(OmegaConf.load(Path(conf_dir()) / "tokenizer" / f"{arguments.tokenizer}.yaml"))
    tokenizer = Tokenizer(**{name: value for name, value in fields.items() if name != "_target_"})
    fast = FastRemi(tokenizer.miditok)

    def miditok(score: Score) -> Tokens:
        quantised = tokenizer.quantise(score)
        sequence = tokenizer.miditok.encode(quantised, encode_ids=False, no_preprocess_score=True)
        return sequence.ids, [event.time for event in sequence.events]

    def ours(score: Score) -> Tokens:
        encoding = fast.encode(score)
        return encoding.ids, encoding.event_ticks

    wrong = 0
    print("| folder | files | that differ | notes a file | MidiTok, ms | ours, ms | ratio, median (min to max) |")
    print("|---|---|---|---|---|---|---|")
    for folder in arguments.folders:
        scores = load(folder, arguments.files)
        if not scores:
            print(f"{folder} holds no readable MIDI file", file=sys.stderr)
            return 1
        different = differing(scores, miditok, ours)
        wrong += different
        theirs_ms, ours_ms = [], []
        for round_ in range(arguments.rounds):
            pairs = [(miditok, theirs_ms), (ours, ours_ms)]
            for encode, timings in pairs if round_ % 2 == 0 else reversed(pairs):
                timings.append(milliseconds(encode, scores))
        ratios = [theirs / mine for theirs, mine in zip(theirs_ms, ours_ms, strict=True)]
        notes = statistics.mean(score.note_num() for score in scores)
        print(
            f"| {folder.name} | {len(scores)} | {different} | {notes:,.0f} | {statistics.median(theirs_ms):.1f} | "
            f"{statistics.median(ours_ms):.2f} | {statistics.median(ratios):.1f} "
            f"({min(ratios):.1f} to {max(ratios):.1f}) |",
            flush=True,
        )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
