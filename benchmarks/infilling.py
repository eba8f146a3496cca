"""How well a trained model fills what was taken out of held-out pieces.

For regions of held-out pieces of the run's own corpus (validation and test in turn; four bars; one voice and all voices
alternately): nats per note of what stood there, given what surrounds it; and of new notes in its place whether their
key is that of the surroundings, how much of their pitch classes' time is shared with them, and how many bars are empty.
The same is measured of what stood there, and of what stands at the same place of the next piece. Then the same pieces'
lowest voice anew as a whole, as `add_track` adds one, and all but their highest one, as `harmonise` does. Prints JSON.

    python benchmarks/infilling.py RUN [--infills 50] [--bars 4] [--wholes 20]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from symusic import Score

from midifactory.cli import hydra_app  # noqa: F401 - registers the resolver that the configs name
from midifactory.cli.building import build_datamodule
from midifactory.cli.runs import checkpoint_in, stored_overrides
from midifactory.data.datamodule import MidiDataModule
from midifactory.generation.infill import Infiller, Region, bar_lines
from midifactory.generation.sampling import Sampling
from midifactory.music.score import load_score
from midifactory.music.splice import without
from midifactory.music.statistics import key_estimate
from midifactory.paths import conf_dir
from midifactory.tokens.infill import Split
from midifactory.training.checkpoint import load_trained


def open_run(run: Path) -> MidiDataModule:
    """The run's data."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", [*stored_overrides(run), "init_from=null", f"run_dir={run}"])
    data = build_datamodule(config)
    assert isinstance(data, MidiDataModule)
    data.setup()
    return data


def span_nats(infiller: Infiller, score: Score, region: Region) -> tuple[float, int] | None:
    """Nats of the notes that stand in a region given those around it, and how many they are; None if too long."""
    rows, tokenizer = infiller.rows, infiller.tokenizer
    passage = rows.read(tokenizer.encode(score).ids)
    if passage is None:
        return None
    asked = {score.tracks[index].program for index in region.tracks}
    inside = [region.first <= event.bar < region.end and event.program in asked for event in passage.events]
    taken = tuple(event for event, out in zip(passage.events, inside, strict=True) if out)
    kept = tuple(event for event, out in zip(passage.events, inside, strict=True) if not out)
    split = Split(kept, taken, (region.first, region.end), tuple(sorted(asked)))
    ids = tokenizer.to_model_ids(rows.write(passage, split))
    start = len(tokenizer.to_model_ids(rows.write(passage, split, span=False)))
    if len(ids) > infiller.trained.window:
        return None
    tokens = torch.from_numpy(ids)
    with torch.no_grad():
        logits = infiller.trained.model(tokens[None, :-1]).logits[0].float()
    nats = torch.nn.functional.cross_entropy(logits[start - 1 :], tokens[start:], reduction="sum")
    return float(nats), sum(event.is_note for event in taken)


def only(score: Score, tracks: Sequence[int], start: int, end: int) -> Score:
    """The notes of these tracks that begin in the region, and nothing else."""
    part = score.copy()
    for index, track in enumerate(part.tracks):
        kept = [note for note in track.notes if index in tracks and start <= note.time < end]
        track.notes = type(track.notes)(kept)
    return part


def classes(score: Score) -> np.ndarray:
    """(12,) share of the time that each pitch class sounds."""
    found = np.zeros(12)
    for track in score.tracks:
        for note in track.notes:
            found[note.pitch % 12] += note.duration
    return found / max(1.0, found.sum())


def near(score: Score, region: Region, lines: np.ndarray, bars: int) -> Score:
    """What surrounds a region, up to so many bars on either side."""
    start, end = int(lines[region.first]), int(lines[region.end])
    first, last = int(lines[max(0, region.first - bars)]), int(lines[min(len(lines) - 1, region.end + bars)])
    return only(without(score, region.tracks, start, end), range(len(score.tracks)), first, last)


def judged(notes: Score, surroundings: Score, bars: int, lines: np.ndarray) -> dict[str, float]:
    """How notes in a region agree with what surrounds them."""
    onsets = [note.time for track in notes.tracks for note in track.notes]
    counts, _ = np.histogram(onsets, lines)
    return {
        "key": float(key_estimate(notes) == key_estimate(surroundings)),
        "pitch_classes": float(np.minimum(classes(notes), classes(surroundings)).sum()),
        "in_scale": float(classes(notes)[classes(surroundings) > 0.02].sum()),
        "empty_bars": float((counts == 0).sum() / bars),
        "notes": float(len(onsets)),
    }


def measure(infiller: Infiller, data: MidiDataModule, infills: int, bars: int, wholes: int) -> dict[str, object]:
    """All figures, for one voice and for all voices, and for whole voices."""
    generator = np.random.default_rng(0)
    paths = [piece.path for split in ("validation", "test") for piece in data.corpus.of(split)]
    scores = [score for score in map(load_score, paths) if len(bar_lines(score)) - 1 >= 3 * bars]
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    nats: dict[str, list[tuple[float, int]]] = {}
    tasks: list[tuple[str, int, int, int, tuple[int, ...]]] = []
    for number in range(infills):
        score = scores[number % len(scores)]
        kind = ("one voice", "all voices")[number % 2]
        first = int(generator.integers(1, len(bar_lines(score)) - 1 - bars))
        voice = int(generator.integers(len(score.tracks)))
        voices = (voice,) if number % 2 == 0 else tuple(range(len(score.tracks)))
        tasks.append((kind, number, first, first + bars, voices))
    for number in range(wholes):
        score = scores[number % len(scores)]
        by_height = sorted(
            range(len(score.tracks)), key=lambda index: score.tracks[index].notes.numpy()["pitch"].mean()
        )
        for kind, voices in (("the lowest voice", by_height[:1]), ("all but the highest voice", by_height[:-1])):
            tasks.append((kind, number, 0, len(bar_lines(score)) - 1, tuple(sorted(voices))))
    for done, (kind, number, first, last, voices) in enumerate(tasks, start=1):
        score, other = scores[number % len(scores)], scores[(number + 1) % len(scores)]
        lines = bar_lines(score)
        region = Region(first, last, voices)
        inside = lines[first : last + 1]
        start, end = int(inside[0]), int(inside[-1])
        around = near(score, region, lines, bars)
        (filled,) = infiller.fill(score, region, Sampling(), seed=number)
        rows = {
            "model": only(filled.score, region.tracks, start, end),
            "original": only(score, region.tracks, start, end),
            "another piece": only(other, region.tracks, start, end),
        }
        for name, notes in rows.items():
            found.setdefault(kind, {}).setdefault(name, []).append(judged(notes, around, last - first, inside))
        if told := span_nats(infiller, score, region):
            nats.setdefault(kind, []).append(told)
        print(f"{done}/{len(tasks)}", end="\r", file=sys.stderr, flush=True)
    return {
        kind: {
            "infills": len(rows["model"]),
            "nats_per_note": per_note(nats.get(kind, [])),
            "measured": len(nats.get(kind, [])),
            **{
                name: {key: round(float(np.mean([r[key] for r in part])), 3) for key in part[0]}
                for name, part in rows.items()
            },
        }
        for kind, rows in found.items()
    }


def per_note(nats: Sequence[tuple[float, int]]) -> float | None:
    """Of (nats, notes) together; None of none."""
    return round(sum(n for n, _ in nats) / sum(notes for _, notes in nats), 3) if nats else None


def main() -> None:
    """Print the figures of a run as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--infills", type=int, default=50)
    parser.add_argument("--bars", type=int, default=4)
    parser.add_argument("--wholes", type=int, default=20)
    arguments = parser.parse_args()
    trained = load_trained(checkpoint_in(str(arguments.run)))
    infiller, data = Infiller(trained), open_run(arguments.run)
    print(json.dumps(measure(infiller, data, arguments.infills, arguments.bars, arguments.wholes), indent=1))


if __name__ == "__main__":
    main()
