"""djalgo's demonstration on our models: train on a folder, compose ten notes many times, compare with the files.

    python benchmarks/djai.py FOLDER --trainings 5 --seeds 20

GRU of 5 layers of 64, 30 notes in and 10 out, batches of 32, 5 epochs (the defaults of djai.ModelManager), on every
window of every file. Each trained model continues the first 30 notes of each file once for each seed. Prints a
Markdown table: different pitches among the ten notes, durations and inter-onsets beside the files' 5th, 50th and 95th
percentile, and how much of what was composed lies between the files' 5th and 95th.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from midifactory import djai
from midifactory.music.score import load_score
from midifactory.tokens.notes import NoteCodec

LENGTH = 10
SHARES = (0.05, 0.5, 0.95)


def main() -> None:
    """Train, compose, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder of MIDI files")
    parser.add_argument("--trainings", type=int, default=5, help="models, trained with the seeds 0, 1, ...")
    parser.add_argument("--seeds", type=int, default=20, help="compositions of each model for each file")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--model", default="gru", help="gru, lstm or transformer")
    arguments = parser.parse_args()
    files = djai.scan_midi_files(arguments.folder)
    features = [NoteCodec().features(load_score(Path(file))) for file in files]
    given = {
        "duration": np.concatenate([rows[:, 1] for rows in features]),
        "inter-onset": np.concatenate([rows[1:, 3] for rows in features]),
    }
    pieces, losses = [], []
    for training in range(arguments.trainings):
        manager = djai.ModelManager(model_type=arguments.model, seed=training)
        started = time.perf_counter()
        history = manager.fit(files, arguments.epochs).history["loss"]
        minutes = (time.perf_counter() - started) / 60
        losses.append(history)
        print(f"training {training}: loss {history[0]:.2f} to {history[-1]:.2f} in {minutes:.1f} min", flush=True)
        pieces += [manager.generate(file, LENGTH, seed=seed)[0] for seed in range(arguments.seeds) for file in files]
    print_table(pieces, losses, given, manager.model.parameters_count)


def print_table(
    pieces: list[djai.Notes], losses: list[list[float]], given: dict[str, np.ndarray], parameters: int
) -> None:
    """The figures of all compositions together, and of each of them alone, beside those of the files' notes."""
    pitches = np.array([len({pitch for pitch, _, _ in notes}) for notes in pieces])
    values = {
        "duration": [[duration for _, duration, _ in notes] for notes in pieces],
        "inter-onset": [np.diff([offset for _, _, offset in notes]) for notes in pieces],
    }
    first, last = np.mean([history[0] for history in losses]), np.mean([history[-1] for history in losses])
    print(f"\n{len(losses)} trainings of {parameters:,} parameters, {len(pieces)} compositions of {LENGTH} notes\n")
    print("| figure | composed | files |\n|---|---|---|")
    print(f"| loss, first and last epoch | {first:.2f}, {last:.2f} | |")
    lowest, middle, highest = np.quantile(pitches, SHARES, method="nearest")
    print(f"| different pitches in {LENGTH}, 5/50/95 % | {lowest}/{middle}/{highest}, least {pitches.min()} | |")
    print(f"| compositions with 5 or more | {(pitches >= 5).mean():.1%} | |")
    for name, due in given.items():
        found, (low, _, high) = np.concatenate(values[name]), np.quantile(due, SHARES)
        shares = ["/".join(f"{value:.3f}" for value in np.quantile(each, SHARES)) for each in (found, due)]
        print(f"| {name} in s, 5/50/95 % | {shares[0]} | {shares[1]} |")
        within = [((each >= low) & (each <= high)).mean() for each in (found, due)]
        print(f"| {name}s within the files' 5-95 % | {within[0]:.1%} | {within[1]:.1%} |")
        medians = np.array([np.median(each) for each in values[name]])
        inside = ((medians >= low) & (medians <= high)).mean()
        print(f"| compositions whose median {name} is within it | {inside:.1%} | |")
    backwards = sum(int((np.diff([offset for _, _, offset in notes]) < 0).sum()) for notes in pieces)
    print(f"| onsets that run backwards | {backwards} | 0 |")


if __name__ == "__main__":
    main()
