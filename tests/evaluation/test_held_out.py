"""The report of held-out pieces against sums by hand."""

import numpy as np
import pytest

from midifactory.evaluation.held_out import HeldOutPiece, PieceNats, likelihood_report, notes_by_tenths, report_lines

TYPES = ["PAD", "BOS", "Bar", "Pitch", "merged"]
LENGTHS = np.array([1, 1, 1, 1, 3])
RANDOM = np.random.default_rng(0)


def piece(name: str, length: int, notes: int, **labels: str) -> HeldOutPiece:
    ids = np.concatenate([[1], RANDOM.integers(2, 5, length)])
    tenths = np.full(10, notes / 10)
    return HeldOutPiece(name, ids, notes, beats=2.0 * notes, seconds=0.5 * notes, tenth_notes=tenths, labels=labels)


PIECES = [
    piece("a", 20, 10, composer="Bach", key="C"),
    piece("b", 31, 40, composer="Bach", key="C"),
    piece("c", 7, 20, composer="Satie", key="C", opus="1"),
]
NATS = [
    PieceNats(RANDOM.uniform(0, 3, each.tokens), divergence)
    for each, divergence in zip(PIECES, (0, 1.5, 2), strict=True)
]


def test_the_whole_and_its_parts():
    report = likelihood_report(
        PIECES, NATS, {"none": [PieceNats(np.zeros(each.tokens)) for each in PIECES]}, TYPES, LENGTHS
    )
    total = sum(nats.tokens.sum() for nats in NATS) + 3.5
    for unit, count in (("note", 70), ("beat", 140), ("second", 35), ("token", 58)):
        figure = report[f"nats_per_{unit}"]
        assert figure["value"] == pytest.approx(total / count)
        assert figure["low"] < figure["value"] < figure["high"]
    assert report["baselines"]["none"]["nats_per_note"] == {"value": 0, "low": 0, "high": 0}
    by_type = report["by_type"]
    assert set(by_type) == {"Bar", "Pitch", "merged", "(latent)"}
    assert by_type["(latent)"] == {"tokens": 0, "nats_per_token": None, "nats_per_note": pytest.approx(3.5 / 70)}
    pitches = [nats.tokens[each.ids[1:] == 3] for each, nats in zip(PIECES, NATS, strict=True)]
    assert by_type["Pitch"]["nats_per_token"] == pytest.approx(np.concatenate(pitches).mean())
    assert sum(row["nats_per_note"] for row in by_type.values()) == pytest.approx(total / 70)
    assert [row["nats_per_note"] for row in by_type.values()] == sorted(
        (row["nats_per_note"] for row in by_type.values()), reverse=True
    )
    assert report["pieces"][1] == {
        "piece": "b", "nats": pytest.approx(NATS[1].total), "tokens": 31, "notes": 40, "beats": 80.0, "seconds": 20.0,
    }  # fmt: skip


def test_tenths_are_of_base_tokens():
    """A merged token of three stands where its first one does: tokens begin at 1, 4, 5, 8 and 9 of 10."""
    ids = np.array([1, 4, 2, 4, 2, 2])
    one = HeldOutPiece("x", ids, 10, 4.0, 2.0, np.ones(10))
    nats = [PieceNats(np.array([1.0, 2.0, 4.0, 8.0, 16.0]))]
    rows = likelihood_report([one], nats, {}, TYPES, LENGTHS)["by_position"]
    assert [row["nats_per_note"]["value"] for row in rows] == [0, 1, 0, 0, 2, 4, 0, 0, 8, 16]
    assert (rows[3]["from"], rows[3]["to"], rows[3]["notes"]) == (0.3, 0.4, 1)


def test_notes_by_tenths_counts_each_note_once():
    groups = {"token": np.array([1, 5, 12, 19]), "notes": np.array([0, 3, 3, 8])}
    assert notes_by_tenths(groups, 9, 20).tolist() == [3, 0, 0, 0, 0, 0, 5, 0, 0, 1]


def test_labels_that_tell_groups_apart():
    """`key` is the same of all; a piece without a label is in no group of it."""
    report = likelihood_report(PIECES, NATS, {}, TYPES, LENGTHS)
    assert list(report["by_label"]) == ["composer"]
    bach = report["by_label"]["composer"]["Bach"]
    assert (bach["pieces"], bach["nats_per_note"]["value"]) == (2, pytest.approx((NATS[0].total + NATS[1].total) / 50))
    assert report["by_label"]["composer"]["Satie"]["nats_per_note"]["low"] is None
    text = "\n".join(report_lines(report, "mine"))
    assert "Bach (2 pieces)" in text
    assert "nats per note by tenths" in text
