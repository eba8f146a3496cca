"""The report of an evaluation as a browser takes it: nothing fetched, every figure in it, the music as it is."""

import json
import re

import pytest

from evaluation_records import distance, interval, obedience, record, statistic
from midifactory.render.evaluation import MOST_SECONDS, _panels, findings, metric_rows, save_evaluation_report
from midifactory.render.rows import TIMES, decimals, doublings, with_interval
from pages import HOSTILE, Page


def made(tmp_path, content, music=()):
    save_evaluation_report(tmp_path / "evaluation.html", content, music)
    text = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture
def music(score_from):
    song = score_from([(0, [(0, 1, 60, 80), (1, 2, 64, 127), (4, 1, 67, 1)]), (-1, [(0, 1, 36, 90)])])
    long = score_from([(40, [(beat, 1, 60, 80) for beat in range(400)])])
    return [("song.mid", song), (HOSTILE, long)]


def test_it_asks_nothing_of_the_outside(tmp_path, music):
    text, page = made(tmp_path, record(), music)
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|fetch\(|XMLHttp|import\(", text)
    assert {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "embed", "form", "a"} == set()
    assert not [name for _, given in page.tags for name in given if name in {"src", "href"} or name[:2] == "on"]
    policy = next(item["content"] for tag, item in page.tags if item.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_every_button_and_picture_has_a_name(tmp_path, music):
    _, page = made(tmp_path, record(), music)
    assert all(item.get("aria-label") for tag, item in page.tags if tag == "button")
    pictures = [item for tag, item in page.tags if tag == "svg" and item.get("role") == "img"]
    assert pictures
    assert all(item.get("aria-label") for item in pictures)
    inputs = [item for tag, item in page.tags if tag == "input"]
    assert len(inputs) == 3
    assert all(item.get("aria-label") or item.get("id") == "volume" for item in inputs)
    assert all(item.get("scope") in ("row", "col") for tag, item in page.tags if tag == "th")


def test_the_music_in_the_page_is_that_of_the_files(tmp_path, music):
    text, page = made(tmp_path, record(), music)
    song, long = json.loads(text.split('id="music">')[1].split("</script>")[0])
    assert song == {"seconds": 2.5, "notes": [
        [0.0, 0.5, 60, 80, 0], [0.0, 0.5, 36, 90, -1], [0.5, 1.0, 64, 127, 0], [2.0, 0.5, 67, 1, 0],
    ]}  # fmt: skip
    assert len(long["notes"]) == 240
    assert long["seconds"] == MOST_SECONDS
    assert "the first 2:00 of it" in page.text
    drawn = [item["d"].count("M") for tag, item in page.tags if tag == "path"]
    assert drawn == [3, 1, 240]
    first = next(item["d"] for tag, item in page.tags if tag == "path")
    assert first.startswith("M0.000 9h0.480v.86H0.000zM0.500 5h0.960")  # rows from the top, pitch 69 is row 0


def test_names_stay_text(tmp_path, music):
    hostile = record(model=HOSTILE, corpus=HOSTILE, settings={HOSTILE: HOSTILE})
    hostile["likelihood"]["by_label"] = {HOSTILE: {HOSTILE: {"pieces": 1, "nats_per_note": interval(1, 0)}}}
    hostile["samples"]["metrics"] = {HOSTILE: distance(1, 1)}
    text, page = made(tmp_path, hostile, music)
    scripts = [item for tag, item in page.tags if tag == "script"]
    assert len(scripts) == 2  # the notes and the player
    assert "alert('x')</script>" not in text
    assert page.text.count(HOSTILE.replace("\udcff", r"\udcff")) >= 7


def test_figures_and_what_is_not_there(tmp_path):
    _, page = made(tmp_path, record())
    words = " ".join(page.text.split())
    assert "longest copy in any key 12 notes, 3.0 beats of bwv 2, its bar 5" in words
    assert "n-grams copied in any key 4.1 %" in words
    for part in ("421,000", "512, 256 tokens", "tempo, velocity", "Händel, 8 pieces", "90 to 100 %", "dropped notes"):
        assert part in words
    assert "Listen" not in words
    assert "Obedience" not in words
    _, page = made(tmp_path, record(samples=False))
    assert "Samples against" not in page.text
    _, page = made(tmp_path, record(likelihood=None, tokenizer=None, model=None, parameters=None))
    assert "Likelihood" not in page.text
    assert page.text.count("None") == 0
    bound = record(kind="bound")
    assert "upper bounds" in made(tmp_path, bound)[1].text
    assert findings(bound)[0].startswith("At most ")


def test_what_was_asked_is_drawn_against_what_was_measured(tmp_path):
    _, page = made(tmp_path, record(samples=False, obedience=obedience()))
    words = " ".join(page.text.split())
    assert "one attribute at a time, 5 pieces for each at guidance 2, as typed at generate" in words
    assert "density command Spearman 0.80 (0.31 to 0.97) 0.25 notes a beat 4 1" in words
    assert "key command exactly 60.0 % 40.0 % 5 0" in words
    dots = [item for tag, item in page.tags if tag == "circle" and item.get("class") == "samples"]
    # Both axes go from 1 to 5 and a twentieth beyond.
    assert [(float(dot["cx"]), float(dot["cy"])) for dot in dots] == [
        (14.6, 100.9), (87.3, 87.3), (160.0, 73.6), (305.4, 5.5),
    ]  # fmt: skip
    names = [item.get("aria-label", "") for tag, item in page.tags if tag == "svg"]
    bars = [name for name in names if "share that is" in name]
    assert [label.partition(":")[0] for label in bars] == ["C major", "A minor", "D minor"]
    assert [float(re.search(r": (\S+)", label)[1]) for label in bars] == [0.5, 1, 0]
    poor = obedience()
    poor["attributes"]["density"].update(
        spearman=None, low=None, high=None, median_difference=None, pieces=0, without=5, measured=[None] * 5
    )
    _, page = made(tmp_path, record(obedience=poor))
    assert "density command Spearman none 0 5" in " ".join(page.text.split())


def test_types_without_a_figure_and_baselines_missing(tmp_path):
    poor = record()
    poor["likelihood"].update(by_label={}, by_position=[], by_type={}, baselines={}, dropped=None, window_tokens=None)
    poor["samples"].update(curves=None, originality=None, invalid_tokens_share=None, metrics={})
    _, page = made(tmp_path, poor)
    assert "By type" not in page.text
    poor["likelihood"]["by_type"] = {"Pitch": {"tokens": 0, "nats_per_token": None, "nats_per_note": None}}
    made(tmp_path, poor)


def test_histograms_are_cut_where_nothing_is_and_marked_by_beats_and_octaves(tmp_path):
    content = record()
    corpus = [0.0] * 97
    corpus[0], corpus[30] = 0.999, 0.001
    steps = {"places": list(range(-24, 25)), "samples": [1 / 49] * 49, "corpus": [1 / 49] * 49}
    content["samples"]["curves"]["durations"]["corpus"] = corpus
    content["samples"]["curves"]["pitch_intervals"] = steps
    names, beats, steps = _panels(content["samples"]["curves"])
    assert [label for _, label in names["ticks"]] == content["samples"]["curves"]["pitch_classes"]["places"]
    assert len(names["bars"]["samples"]) == 12
    assert [label for _, label in beats["ticks"]] == ["0", "0.0833"]  # a share of 0.1 % is not drawn
    assert [label for _, label in steps["ticks"]] == ["-24", "-12", "0", "12", "24"]
    assert {bar[1] for bar in steps["bars"]["corpus"]} == {0}
    assert "repetition" in made(tmp_path, content)[1].text


def test_a_measure_is_off_where_the_intervals_part():
    rows = metric_rows({
        "near": distance(0.05, 0.05),
        "touching": {**distance(0.07, 0.05), "distance": {"value": 0.07, "low": 0.06, "high": 0.08}},
        "beyond": {**distance(0.07, 0.05), "distance": {"value": 0.07, "low": 0.0601, "high": 0.08}},
        "far": statistic(9, 3, 6.0, 0.1),
        "unknown": {**distance(0.1, 0.1), "ceiling": dict.fromkeys(("value", "low", "high"))},
    })  # fmt: skip
    assert [(row["name"], row["off"]) for row in rows] == [
        ("far", True), ("beyond", True), ("touching", False), ("near", False), ("unknown", False),
    ]  # fmt: skip
    assert rows[0]["times"] == pytest.approx(60)
    assert rows[0]["dot"] == (100, 100, 100)  # at the end of the axis
    assert rows[3]["dot"][0] == rows[3]["band"][0] == pytest.approx(100 * 2 / 7, abs=0.01)
    assert "off: onset intervals, scale consistency (less)." in findings(record())[1]


def test_doublings_and_decimals():
    step = 100 / (len(TIMES) - 1)
    assert doublings((0.25, 1, 2, 32), 1) == pytest.approx((0, 2 * step, 3 * step, 100), abs=0.01)
    assert doublings((0, 1e9, 1e9), 1) == (0, 100, 100)
    assert [decimals(width) for width in (2, 0.2, 0.02, 200, 0)] == [1, 2, 3, 0, 3]
    assert with_interval({"value": 1.23456, "low": 1.2, "high": 1.27}) == "1.235 (1.200 to 1.270)"
    assert with_interval({"value": 1.5, "low": None, "high": None}) == "1.50"
    assert with_interval({"value": 6.45, "low": 6.45, "high": 6.45 + 1e-9}) == "6.45"
    assert with_interval(None) == with_interval({"value": None}) == ""
    assert with_interval(0) == "0.000"
