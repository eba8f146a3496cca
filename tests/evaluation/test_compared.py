"""Paired comparisons against a naive loop over draws, models whose difference is known, and what must not be ranked."""

import json
import math

import numpy as np
import pytest

from evaluation_records import distance, interval, obedience, piece_rows, record
from midifactory.errors import UserError
from midifactory.evaluation.bootstrap import Interval, interval_of_difference
from midifactory.evaluation.compared import Run, check_record, compare, conclusion, table_lines


def runs(*records):
    return [Run(label, f"runs/{label}", each) for label, each in zip("ABCDE", records, strict=False)]


def shifted(by, jitter=0.02, count=20, seed=1, **changes):
    """The pieces of `record()`, harder by `by` nats per note."""
    noise = jitter * np.random.default_rng(seed).standard_normal(count)
    return record(piece_rows(count, shift=by + noise), samples=False, **changes)


def test_the_interval_is_that_of_a_naive_loop():
    """Other draws of the same kind end within the noise of 4000 of them; the value is exact."""
    first, second = piece_rows(20), piece_rows(20, spread=0.5, seed=0)
    nats, other = ([row["nats"] for row in rows] for rows in (first, second))
    notes = [row["notes"] for row in first]
    generator, found = np.random.default_rng(99), []
    for _ in range(4000):
        chosen = [int(generator.integers(20)) for _ in range(20)]
        total = sum(notes[i] for i in chosen)
        found.append(sum(other[i] for i in chosen) / total - sum(nats[i] for i in chosen) / total)
    found.sort()
    for share in (0.95, 0.8):
        mine = interval_of_difference(other, notes, nats, notes, share=share, draws=10_000)
        tail = round(4000 * (1 - share) / 2)
        width = found[-tail] - found[tail]
        assert mine.value == pytest.approx((sum(other) - sum(nats)) / sum(notes))
        assert (mine.low, mine.high) == pytest.approx((found[tail], found[-tail]), abs=0.08 * width)


def test_pairing_finds_what_intervals_of_each_alone_would_not():
    found = compare(runs(record(samples=False), shifted(-0.05)))
    (group,) = found["groups"]
    (pair,) = group["pairs"]
    assert pair["better"] == "B"
    assert pair["difference"]["value"] == pytest.approx(-0.05, abs=0.02)
    assert "B is better than A by 0.0" in pair["says"]
    assert "nats per note on 20 pieces: the interval excludes 0" in pair["says"]
    first, second = (row["nats_per_note"] for row in group["ranking"])
    assert [row["label"] for row in group["ranking"]] == ["B", "A"]
    assert [row["rank"] for row in group["ranking"]] == [1, 2]
    assert first["high"] > second["low"]  # unpaired, nothing could be said
    rows = record(samples=False)["likelihood"]["pieces"]
    assert second["value"] == pytest.approx(sum(row["nats"] for row in rows) / sum(row["notes"] for row in rows))
    json.dumps(found, allow_nan=False)


def test_the_same_seed_says_the_same_and_the_order_of_pieces_is_nothing():
    one, other = record(samples=False), shifted(-0.02)
    found = compare(runs(one, other), seed=3)
    assert compare(runs(one, other), seed=3) == found
    other["likelihood"]["pieces"].reverse()
    assert compare(runs(one, other), seed=3) == found


def test_obedience_stands_side_by_side_without_a_rank():
    other = obedience(asked="model", guidance=1.5)
    other["attributes"]["density"].update(spearman=None, low=None, high=None)
    del other["attributes"]["key"]
    asked = [record(likelihood=None, samples=False, obedience=part) for part in (obedience(), other)]
    found = compare(runs(asked[0], record(samples=False), asked[1]))
    assert found["obedience"]["runs"] == ["A", "C"]
    assert "asked" not in found["obedience"]["attributes"]["density"]["A"]
    lines = table_lines(found)
    density, key, *how = lines[-4:]
    assert [cell.strip() for cell in density.split("Spearman ")] == [
        "density", "0.80 (0.31 to 0.97)", "nan (nan to nan)",
    ]  # fmt: skip
    assert key.split() == ["key", "exactly", "60%", "(guessing", "40%)", "-"]
    assert how == [
        "A: asked=command, guidance=2, 5 pieces each",
        "C: asked=model, guidance=1.5, 5 pieces each",
    ]
    json.dumps(found, allow_nan=False)
    assert compare(runs(record(obedience=obedience()), record()))["obedience"] is None
    with pytest.raises(UserError, match="nothing to compare"):
        compare(runs(asked[0], record(likelihood=None, samples=False)))


def test_models_of_one_kind_are_seldom_told_apart():
    """Of pairs without a true difference about 5 % are, by chance; of 40, more than 8 would be a wonder."""
    told = 0
    for seed in range(40):
        rows = piece_rows(30), piece_rows(30, shift=0.2 * np.random.default_rng(seed).standard_normal(30))
        (group,) = compare(runs(*(record(each, samples=False) for each in rows)))["groups"]
        told += group["pairs"][0]["better"] is not None
    assert told <= 8


def test_ties_are_marked_and_intervals_of_many_pairs_are_wider():
    found = compare(runs(record(samples=False), shifted(0.0), shifted(-0.3, seed=2), shifted(0.4, seed=3)))
    (group,) = found["groups"]
    assert group["share"] == pytest.approx(1 - 0.05 / 6)
    ranking = {row["label"]: (row["rank"], row["not_told_from"]) for row in group["ranking"]}
    assert ranking == {"C": (1, []), "A": (2, ["B"]), "B": (2, ["A"]), "D": (4, [])}
    alone = compare(runs(record(samples=False), shifted(-0.3, seed=2)))["groups"][0]["pairs"][0]["difference"]
    among = next(pair for pair in group["pairs"] if (pair["first"], pair["second"]) == ("A", "C"))["difference"]
    assert among["value"] == alone["value"]
    assert among["high"] - among["low"] > alone["high"] - alone["low"]
    assert "so that all hold together with 95 %" in "\n".join(table_lines(found))


def test_only_pieces_in_common_count():
    more = record(samples=False)
    fewer = shifted(-0.2)
    fewer["likelihood"]["pieces"] = fewer["likelihood"]["pieces"][:12]
    more["likelihood"]["pieces"][15]["nats"] = 1e9  # not in common
    (group,) = compare(runs(more, fewer))["groups"]
    assert (group["pieces"], group["pairs"][0]["pieces"]) == (12, 12)
    assert group["pairs"][0]["better"] == "B"
    assert "12 pieces that all have (A has 20)" in group["line"]
    for row in fewer["likelihood"]["pieces"]:
        row["piece"] += "!"
    with pytest.raises(UserError, match="A and B have no piece in common"):
        compare(runs(more, fewer))


def test_a_piece_of_other_notes_is_not_the_same_music():
    other = shifted(0.0)
    other["likelihood"]["pieces"][4]["notes"] += 1
    with pytest.raises(UserError, match=r"piece 4 has \d+ notes in A and \d+ in B"):
        compare(runs(record(samples=False), other))


@pytest.mark.parametrize(("count", "concludes"), [(1, False), (5, False), (6, True)])
def test_too_few_pieces_conclude_nothing(count, concludes):
    """A sign test of 5 pieces has 1/16 at best, one of 6 has 1/32."""
    pair = compare(runs(record(piece_rows(count), samples=False), shifted(-0.5, count=count)))["groups"][0]["pairs"][0]
    assert (pair["better"] == "B") == concludes
    assert ("conclude nothing; at least 6 are needed" in pair["says"]) == (not concludes)


@pytest.mark.parametrize(
    ("kinds", "low", "high", "better", "words"),
    [
        (("exact", "exact"), -0.2, -0.1, "B", "B is better than A by 0.150 (0.100 to 0.200)"),
        (("exact", "exact"), 0.1, 0.2, "A", "A is better than B by 0.150 (0.100 to 0.200)"),
        (("exact", "exact"), -0.1, 0.2, None, "A and B cannot be told apart: B less A is 0.050 (-0.100 to 0.200)"),
        (("exact", "bound"), -0.2, -0.1, "B", "by at least 0.150"),
        (("exact", "bound"), 0.1, 0.2, None, "B's figure is a bound and not clearly below"),
        (("exact", "bound"), -0.2, 0.1, None, "B's figure is a bound"),
        (("bound", "exact"), 0.1, 0.2, "A", "by at least 0.150"),
        (("bound", "exact"), -0.2, -0.1, None, "A's figure is a bound"),
        (("bound", "bound"), -0.2, -0.1, None, "both figures are bounds"),
        (("exact", "exact"), None, None, None, "conclude nothing"),
    ],
)
def test_what_may_be_concluded(kinds, low, high, better, words):
    one, other = runs(*(record(samples=False, kind=kind) for kind in kinds))
    value = 0.0 if low is None else (low + high) / 2
    who, says = conclusion(one, other, Interval(value, low, high), 20, 0.05)
    assert who == better
    assert words in says


def test_other_fields_are_not_ranked_but_samples_stand_side_by_side():
    loud, still = record(keeps=("velocity", "tempo")), record(keeps=("tempo", "pedal"))
    still["samples"]["metrics"]["pitch_classes"] = distance(0.01, 0.04)
    found = compare(runs(loud, still))
    assert found["groups"] == []
    (reason,) = found["not_ranked"]
    assert "the tokens of A keep velocity, those of B do not" in reason
    assert "the tokens of B keep pedal, those of A do not" in reason
    assert found["samples"]["metrics"]["pitch_classes"]["nearest"] == "B"
    assert found["samples"]["metrics"]["onset_intervals"]["nearest"] is None  # the same
    assert found["samples"]["metrics"]["chord_perplexity"]["nearest"] is None  # none
    still["samples"] = None
    with pytest.raises(UserError, match=r"those of A do not.*not ranked; train and evaluate both"):
        compare(runs(loud, still))


def test_runs_of_each_kind_of_tokens_are_ranked_among_themselves():
    found = compare(runs(record(samples=False), shifted(-1, keeps=()), shifted(-0.3), shifted(-1.5, keeps=())))
    assert [group["runs"] for group in found["groups"]] == [["A", "C"], ["B", "D"]]
    assert [[row["label"] for row in group["ranking"]] for group in found["groups"]] == [["C", "A"], ["D", "B"]]
    (reason,) = found["not_ranked"]
    assert reason.startswith("the tokens of A, C keep tempo, velocity, those of B, D do not: ")


def test_distances_of_other_numbers_of_pieces_mark_nobody():
    one, other = record(), record()
    other["samples"]["compared_pieces"] = 5
    other["samples"]["metrics"]["pitch_classes"] = distance(0.001, 0.04)
    found = compare(runs(one, other))
    assert {metric["nearest"] for metric in found["samples"]["metrics"].values()} == {None}
    assert "no nearest is marked" in table_lines(found)[-1]


def test_embeddings_of_other_models_mark_nobody():
    one, other = record(), record()
    for content, value, model in ((one, 5.0, "a"), (other, 1.0, "a")):
        content["samples"]["metrics"]["frechet_ours"] = distance(value, 0.9)
        content["samples"]["frechet_ours"] = {"sha256": model}
    assert compare(runs(one, other))["samples"]["metrics"]["frechet_ours"]["nearest"] == "B"
    other["samples"]["frechet_ours"]["sha256"] = "b"
    assert compare(runs(one, other))["samples"]["metrics"]["frechet_ours"]["nearest"] is None


@pytest.mark.parametrize(("field", "value"), [("corpus", "groove"), ("split", "validation")])
def test_other_music_is_refused(field, value):
    with pytest.raises(UserError, match=f"A is of {field} {record()[field]}, B of {value}.*evaluate both with"):
        compare(runs(record(), record(**{field: value})))


def test_nothing_to_compare():
    with pytest.raises(UserError, match="fewer than two runs have a likelihood, samples or obedience"):
        compare(runs(record(samples=False), record(likelihood=None, tokenizer=None)))


def test_a_folder_beside_a_model():
    folder = record(likelihood=None, tokenizer=None, model=None, parameters=None)
    found = compare(runs(record(), folder))
    assert (found["groups"], found["not_ranked"]) == ([], [])
    assert found["runs"][1]["model"] is None
    lines = table_lines(found)
    assert lines[0] == "bach_chorales, test split"
    assert any(line.startswith("pitch classes") and "0.04 (0.032 to 0.048)" in line for line in lines)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "no evaluation; evaluate again"),
        ({"nats_per_note": 2}, "no evaluation; evaluate again"),
        ({"midifactory": "0.0.9", "corpus": "x"}, "written by midifactory 0.0.9 without split; evaluate again"),
        (record(likelihood={"kind": "exact"}), "without likelihood.pieces"),
    ],
)
def test_an_older_record(content, words):
    with pytest.raises(UserError, match=r"^old: ") as caught:
        check_record("old", content)
    assert words in str(caught.value)


def test_other_tokens_of_the_same_fields_say_what_they_lose():
    other = shifted(-0.2)
    assert compare(runs(record(), other))["groups"][0]["losses"] == []
    other["tokenizer"]["fingerprint"] = "other"
    other["likelihood"]["dropped"]["dropped_notes"] = 250
    lines = table_lines(compare(runs(record(), other)))
    assert "A's tokens drop 1.20 % of the notes, onsets move by 3.1 ms." in lines
    assert "B's tokens drop 10.00 % of the notes, onsets move by 3.1 ms." in lines


def test_what_the_table_says():
    text = "\n".join(table_lines(compare(runs(record(), shifted(-0.2)))))
    assert "A  runs/A  (Transformer, 421,000 parameters, remi_plus, 20 samples)" in text
    assert math.isclose(float(text.split("1     B    ")[1].split()[0]), interval(1.78, 0)["value"], abs_tol=0.1)
