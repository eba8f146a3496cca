"""What the nats of held-out pieces say: per note, beat and second, by type of token, place in the piece, and label.

All figures are ratios of sums over the pieces with an interval over them (evaluation/bootstrap.py).

Legend: N tokens of a piece with BOS, V vocabulary, B the base vocabulary, G onset groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from midifactory.evaluation.bootstrap import Interval, interval_of

_TENTHS = 10
_UNITS = ("note", "beat", "second", "token")
# A label that all pieces share, or that nearly names them, tells groups apart no longer.
_FEWEST_VALUES, _MOST_VALUES = 2, 30
_VALUES_SHOWN = 8
DIVERGENCE = "(latent)"  # the type under which a latent's divergence is listed


@dataclass(frozen=True, eq=False)
class HeldOutPiece:
    """One piece to be measured.

    ids: (N,) as the model reads them, BOS first. notes, beats (quarter notes) and seconds are those of its source file
    up to the end of the last note; tenth_notes: (10,), the notes that each tenth of its tokens tells.
    """

    id: str
    ids: np.ndarray
    notes: int
    beats: float
    seconds: float
    tenth_notes: np.ndarray
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Those that are foretold."""
        return len(self.ids) - 1


@dataclass(frozen=True, eq=False)
class PieceNats:
    """Nats of each foretold token of a piece, (N - 1,), and what a latent costs besides."""

    tokens: np.ndarray
    divergence: float = 0.0

    @property
    def total(self) -> float:
        """Of the whole piece."""
        return float(self.tokens.sum()) + self.divergence


def notes_by_tenths(groups: np.ndarray | Mapping[str, np.ndarray], notes: int, base_tokens: int) -> np.ndarray:
    """(10,) notes told in each tenth of a piece of `base_tokens` tokens.

    groups: of each place where notes begin `token`, where it stands, and `notes`, how many came before it, (G,) each.
    """
    each = np.diff(np.append(groups["notes"], notes))
    return np.bincount(_tenths(groups["token"], base_tokens), each, _TENTHS)


def likelihood_report(
    pieces: Sequence[HeldOutPiece],
    nats: Sequence[PieceNats],
    baselines: Mapping[str, Sequence[PieceNats]],
    types: Sequence[str],
    lengths: np.ndarray,
    seed: int = 0,
) -> dict[str, Any]:
    """The figures of `nats`, one for each of `pieces`, and of the baselines beside it, as JSON has them.

    types: of every id, (V,). lengths: how many base tokens each stands for, (V,).
    """
    return {
        **_figures(pieces, nats, seed),
        "baselines": {name: _figures(pieces, found, seed) for name, found in baselines.items()},
        "by_type": _by_type(pieces, nats, types),
        "by_position": _by_position(pieces, nats, lengths, seed),
        "by_label": _by_label(pieces, nats, seed),
        "pieces": [
            {
                "piece": piece.id,
                "nats": found.total,
                "tokens": piece.tokens,
                "notes": piece.notes,
                "beats": piece.beats,
                "seconds": piece.seconds,
            }
            for piece, found in zip(pieces, nats, strict=True)
        ],
    }


def _figures(pieces: Sequence[HeldOutPiece], nats: Sequence[PieceNats], seed: int) -> dict[str, Any]:
    """nats_per_note, nats_per_beat, ...: the same draws of pieces for all of them."""
    totals = [found.total for found in nats]
    return {
        f"nats_per_{unit}": interval_of(totals, [getattr(piece, f"{unit}s") for piece in pieces], seed).to_dict()
        for unit in _UNITS
    }


def _by_type(pieces: Sequence[HeldOutPiece], nats: Sequence[PieceNats], types: Sequence[str]) -> dict[str, Any]:
    """Every type that stands in the pieces, the costliest first; their nats per note add up to the whole."""
    names = list(dict.fromkeys(types))
    type_of = np.array([names.index(name) for name in types])  # (V,)
    targets = type_of[np.concatenate([piece.ids[1:] for piece in pieces])]
    tokens = np.bincount(targets, minlength=len(names))
    sums = np.bincount(targets, np.concatenate([found.tokens for found in nats]), len(names))
    notes = sum(piece.notes for piece in pieces)
    rows: dict[str, Any] = {
        name: {"tokens": int(count), "nats_per_token": total / count, "nats_per_note": _over(total, notes)}
        for name, count, total in zip(names, tokens.tolist(), sums.tolist(), strict=True)
        if count
    }
    if divergence := sum(found.divergence for found in nats):
        rows[DIVERGENCE] = {"tokens": 0, "nats_per_token": None, "nats_per_note": _over(divergence, notes)}
    return dict(sorted(rows.items(), key=lambda row: -(row[1]["nats_per_note"] or 0.0)))


def _by_position(
    pieces: Sequence[HeldOutPiece], nats: Sequence[PieceNats], lengths: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """Tenths of the pieces' base tokens, by the notes that these tell; a latent's divergence belongs to none."""
    sums = np.zeros((len(pieces), _TENTHS))
    for row, (piece, found) in enumerate(zip(pieces, nats, strict=True)):
        ends = np.cumsum(lengths[piece.ids])  # (N,) where each token ends among the base tokens
        sums[row] = np.bincount(_tenths(ends[:-1], int(ends[-1])), found.tokens, _TENTHS)
    notes = np.stack([piece.tenth_notes for piece in pieces])
    return [
        {
            "from": tenth / _TENTHS,
            "to": (tenth + 1) / _TENTHS,
            "notes": int(notes[:, tenth].sum()),
            "nats_per_note": interval_of(sums[:, tenth], notes[:, tenth], seed).to_dict(),
        }
        for tenth in range(_TENTHS)
    ]


def _by_label(pieces: Sequence[HeldOutPiece], nats: Sequence[PieceNats], seed: int) -> dict[str, Any]:
    """For every label of the corpus with few values: how many pieces have each, and their figure."""
    table: dict[str, Any] = {}
    for label in dict.fromkeys(name for piece in pieces for name in piece.labels):
        values = sorted({piece.labels[label] for piece in pieces if piece.labels.get(label)})
        if not _FEWEST_VALUES <= len(values) <= _MOST_VALUES:
            continue
        table[label] = {}
        for value in values:
            rows = [row for row, piece in enumerate(pieces) if piece.labels.get(label) == value]
            figure = interval_of([nats[row].total for row in rows], [pieces[row].notes for row in rows], seed)
            table[label][value] = {"pieces": len(rows), "nats_per_note": figure.to_dict()}
    return table


def _tenths(places: np.ndarray, size: int) -> np.ndarray:
    """Which tenth of `size` tokens each of `places` lies in, 0 to 9."""
    return np.minimum(places * _TENTHS // max(1, size), _TENTHS - 1)


def _over(total: float, count: int) -> float | None:
    return total / count if count else None


def report_lines(report: Mapping[str, Any], name: str) -> list[str]:
    """A table for people: the model called `name` beside its baselines, then types and tenths."""
    rows = [(name, report), *report["baselines"].items()]
    lines = [f"{'nats':<12} " + " ".join(f"{'per ' + unit:>24}" for unit in _UNITS)]
    for row, figures in rows:
        cells = [Interval(**figures[f"nats_per_{unit}"]).text() for unit in _UNITS]
        lines.append(f"{row:<12} " + " ".join(f"{cell:>24}" for cell in cells))
    types = [
        f"{kind} {row['nats_per_note']:.3f}"
        for kind, row in report["by_type"].items()
        if row["nats_per_note"] is not None
    ]
    lines.append("of its nats per note: " + ", ".join(types))
    tenths = [Interval(**row["nats_per_note"]).value for row in report["by_position"]]
    shown = " ".join("-" if value is None else f"{value:.2f}" for value in tenths)
    lines.append(f"nats per note by tenths of the pieces: {shown}")
    for label, values in report["by_label"].items():
        lines.append(f"nats per note by {label}:")
        most = sorted(values.items(), key=lambda item: -item[1]["pieces"])
        for value, row in most[:_VALUES_SHOWN]:
            lines.append(f"  {value} ({row['pieces']} pieces): {Interval(**row['nats_per_note']).text()}")
        if len(most) > _VALUES_SHOWN:
            lines.append(f"  and {len(most) - _VALUES_SHOWN} more in evaluation.json")
    return lines
