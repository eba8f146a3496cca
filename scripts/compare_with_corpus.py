"""Are generated pieces like their corpus? Prints a table of numbers, and says what misses.

    python scripts/compare_with_corpus.py outputs/demo/music --corpus outputs/corpora/bach_chorales

For each statistic of music/statistics.py: the corpus' 5th to 95th percentile over pieces, the mean over the generated
pieces, and how many of these lie inside. Then the share of bars in which at least `--voices` voices sound, and with
`--result` (a run's result.json) the held-out nats per note beside a unigram model's.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from midifactory.music.score import load_score
from midifactory.music.statistics import bars_with_voices, corpus_statistics, piece_statistics

STATISTICS = {
    "pitch class": ("pitch_class_entropy_bits", "scale_consistency", "pitch_mean", "pitch_range"),
    "duration": ("duration_mean_beats", "duration_median_beats", "duration_entropy_bits"),
    "onset": ("onset_interval_mean_beats", "onset_position_entropy_bits", "onsets_on_beat_share", "notes_per_beat"),
    "texture": ("polyphony_mean", "empty_bars_share"),
}
NATS_LIMIT, VOICES_LIMIT = 0.6, 0.9


def main() -> None:
    """Read both folders and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music", type=Path, help="a folder of generated .mid files")
    parser.add_argument("--corpus", type=Path, required=True, help="a folder of the corpus' .mid files")
    parser.add_argument("--result", type=Path, help="result.json of the training run")
    parser.add_argument("--voices", type=int, default=4)
    arguments = parser.parse_args()
    generated, corpus = scores(arguments.music), scores(arguments.corpus)
    percentiles = corpus_statistics([piece_statistics(score) for score in corpus])
    rows = [piece_statistics(score) for score in generated]
    missed = []
    print(f"\n{len(generated)} generated pieces beside {len(corpus)} of the corpus\n")
    print(f"| {'kind':11} | {'statistic':27} | {'corpus 5-95 %':>15} | {'generated, mean':>15} | inside |")
    print(f"|{'-' * 13}|{'-' * 29}|{'-' * 16}:|{'-' * 16}:|{'-' * 7}:|")
    for kind, names in STATISTICS.items():
        for name in names:
            low, high = percentiles[name]["p5"], percentiles[name]["p95"]
            values = np.array([row[name] for row in rows])
            mean, inside = float(np.nanmean(values)), int(((values >= low - 1e-9) & (values <= high + 1e-9)).sum())
            limits = f"{low:.3f} to {high:.3f}"
            print(f"| {kind:11} | {name:27} | {limits:>15} | {mean:15.3f} | {inside:3}/{len(rows)}  |")
            if not low - 1e-9 <= mean <= high + 1e-9:
                missed.append(f"{name}: mean {mean:.3f} outside {limits}")
    voices = [bars_with_voices(score, arguments.voices) for score in generated]
    print(f"\nbars in which {arguments.voices} voices sound: {np.mean(voices):.1%} (lowest piece {min(voices):.1%})")
    if np.mean(voices) < VOICES_LIMIT:
        missed.append(f"{arguments.voices} voices sound in {np.mean(voices):.1%} of the bars, asked {VOICES_LIMIT:.0%}")
    if arguments.result:
        held_out = json.loads(arguments.result.read_text(encoding="utf-8"))["test"]
        ratio = held_out["nats_per_note"] / held_out["unigram_nats_per_note"]
        print(f"held-out nats per note: {held_out['nats_per_note']:.3f}, {ratio:.2f} of a unigram model's")
        if ratio > NATS_LIMIT:
            missed.append(f"nats per note {ratio:.2f} of unigram's, asked {NATS_LIMIT}")
    print("missed: " + "; ".join(missed) if missed else "nothing missed")


def scores(folder: Path) -> list:
    """All MIDI files of a folder as Scores."""
    paths = sorted(folder.glob("*.mid"))
    if not paths:
        sys.exit(f"{folder}: no .mid files there")
    return [load_score(path) for path in paths]


if __name__ == "__main__":
    main()
