"""evaluation.json made by hand, for the tests of what reads it."""

import copy
import json

import numpy as np


def interval(value, half):
    return {"value": value, "low": value - half, "high": value + half}


def distance(value, ceiling, unit="total variation"):
    return {
        **interval(value, 0.1 * value), "unit": unit, "kind": "distance", "better": "lower", "corpus": None,
        "distance": interval(value, 0.1 * value), "ceiling": interval(ceiling, 0.2 * ceiling), "source": "made by hand",
    }  # fmt: skip


def statistic(value, corpus, apart, ceiling, unit="notes"):
    return {
        **interval(value, 0.1), "unit": unit, "kind": "statistic", "better": "near corpus",
        "corpus": interval(corpus, 0.1), "distance": interval(apart, 0.1 * apart),
        "ceiling": interval(ceiling, 0.2 * ceiling), "source": "made by hand",
    }  # fmt: skip


def piece_rows(count, per_note=2.0, spread=0.3, seed=0, shift=None):
    """`count` pieces of 40 to 200 notes; `shift` (count,) is added to their nats per note."""
    generator = np.random.default_rng(seed)
    notes = generator.integers(40, 200, count)
    each = per_note + spread * generator.standard_normal(count) + (0 if shift is None else np.asarray(shift))
    return [
        {"piece": f"piece {index}", "nats": float(n * nats), "tokens": int(4 * n), "notes": int(n), "beats": float(n),
         "seconds": n / 2}
        for index, (n, nats) in enumerate(zip(notes, each, strict=True))
    ]  # fmt: skip


def record(rows=None, *, samples=True, kind="exact", keeps=("tempo", "velocity"), **changes):
    """An evaluation of a transformer on 20 pieces; `changes` replace top-level values."""
    rows = piece_rows(20) if rows is None else rows
    nats, notes = sum(row["nats"] for row in rows), sum(row["notes"] for row in rows)
    per_note = nats / notes

    def units(factor):
        return {
            "nats_per_note": interval(factor * per_note, 0.05), "nats_per_beat": interval(factor * per_note, 0.05),
            "nats_per_second": interval(2 * factor * per_note, 0.1),
            "nats_per_token": interval(factor * per_note / 4, 0.01),
        }  # fmt: skip

    return copy.deepcopy({
        "midifactory": "0.1.0", "checkpoint": "outputs/train/one/checkpoints/best.ckpt", "checkpoint_sha256": "ab12",
        "model": "Transformer", "parameters": 421_000, "corpus": "bach_chorales", "split": "test", "seed": 0,
        "tokenizer": {"name": "remi_plus", "fingerprint": "f00d", "keeps": list(keeps)},
        "settings": {"samples": 20, "bars": None},
        "likelihood": {
            "kind": kind, "window_tokens": 512, "stride_tokens": 256, **units(1),
            "baselines": {"uniform": units(4.1), "unigram": units(2.2), "5-gram": units(1.3)},
            "dropped": {"notes": 2500.0, "dropped_notes": 30.0, "onset_error_ms_mean": 3.1, "drift_ms": None},
            "by_type": {
                name: {"tokens": 100, "nats_per_token": share * per_note, "nats_per_note": share * per_note}
                for name, share in (("Pitch", 0.6), ("Duration", 0.15), ("Bar", 0.05), ("Position", 0.2))
            },
            "by_position": [
                {"from": step / 10, "to": (step + 1) / 10, "nats_per_note": interval(per_note * (1.3 - step / 20), 0.1)}
                for step in range(10)
            ],
            "by_label": {"composer": {"Bach": {"pieces": 12, "nats_per_note": interval(1.9, 0.1)},
                                      "Händel": {"pieces": 8, "nats_per_note": interval(2.2, 0.2)}}},
            "pieces": rows,
        },
        "samples": _samples() if samples else None,
        "obedience": None,
        **changes,
    })  # fmt: skip


def obedience(**changes):
    """Of 5 pieces for each attribute; `changes` replace top-level values."""
    density = {
        "unit": "notes a beat", "pieces": 4, "without": 1, "spearman": 0.8, "low": 0.31, "high": 0.97,
        "median_difference": 0.25, "asked": [1.0, 2.0, 3.0, 4.0, 5.0], "measured": [1.5, 2.0, 2.5, None, 5.0],
    }  # fmt: skip
    key = {
        "unit": "", "pieces": 5, "without": 0, "exact": 0.6, "guessing": 0.4,
        "asked": ["C major", "C major", "A minor", "A minor", "D minor"],
        "measured": ["C major", "G major", "A minor", "A minor", "F major"],
    }  # fmt: skip
    parts = {
        "asked": "command",
        "guidance": 2.0,
        "bars": None,
        "count": 5,
        "attributes": {"density": density, "key": key},
    }
    return copy.deepcopy({**parts, **changes})


def _copy(notes):
    return {"notes": notes, "beats": notes / 4, "piece": "bwv 2", "bar": 1, "piece_bar": 5, "transposition": 0}


def _samples():
    names = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]
    return {
        "count": 20, "from": "model", "files": [],
        "originality": {
            "file": "1.mid", "exact": _copy(7), "transposed": _copy(12), "ngrams": 0.0, "ngrams_transposed": 0.041,
            "nearest": "bwv 1", "nearest_share": 0.02,
        },
        "invalid_tokens_share": 0.0, "compared_pieces": 10,
        "metrics": {
            "pitch_classes": distance(0.05, 0.04),
            "onset_intervals": distance(0.4, 0.05, "beats"),
            "polyphony_mean": statistic(2.9, 3.0, 0.12, 0.1),
            "scale_consistency": statistic(0.9, 0.97, 0.07, 0.02, "share of notes"),
            "chord_perplexity": {**statistic(7.0, 6.0, 1.0, 0.5), "distance": dict.fromkeys(("value", "low", "high"))},
        },
        "curves": {
            "pitch_classes": {"places": names, "samples": [1 / 12] * 12, "corpus": [0.2, *[0.8 / 11] * 11]},
            "durations": {"places": [cell / 12 for cell in range(97)], "samples": [0.5, 0.5, *[0.0] * 95],
                          "corpus": [0.25] * 4 + [0.0] * 93},
            "repetition": {"places": list(range(1, 17)), "samples": [0.4] * 12 + [None] * 4, "corpus": [0.5] * 16},
        },
        "pieces": [], "corpus_pieces": [],
    }  # fmt: skip


def write_record(folder, content):
    """evaluation.json in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(content, allow_nan=False))
    return folder
