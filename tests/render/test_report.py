"""The report as a browser takes it: parsed, with every tag closed, and nothing in it that asks a network."""

import json
import re

import numpy as np
import pytest

from midifactory.music.analysis import Analysis, analyze_piece, recommend
from midifactory.music.score import save_score
from midifactory.render.report import MOST_BARS, MOST_ROWS, panels_for, program_name, save_report
from pages import HOSTILE, Page


def made(analysis, tmp_path, rejected=(), duplicates=()):
    advice = [
        {"setting": item.setting, "value": item.value, "overrides": item.overrides, "reason": item.reason}
        for item in recommend(analysis)
    ]
    save_report(tmp_path / "report.html", analysis.to_dict(), advice, rejected, duplicates, "midifactory train songs")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture
def analysis(midi_files):
    found = Analysis("hand made")
    for name, path in midi_files:
        found.add(name, analyze_piece(path))
    return found


def test_it_asks_nothing_of_the_outside(analysis, tmp_path):
    text, page = made(analysis, tmp_path)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
    assert {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "form", "a"} == set()
    assert not [
        name for _, attributes in page.tags for name in attributes if name in {"src", "href"} or name[:2] == "on"
    ]
    policy = next(item["content"] for tag, item in page.tags if item.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert any(item.get("name") == "viewport" for tag, item in page.tags)


def test_names_of_files_stay_text(analysis, midi_files, tmp_path):
    analysis.name = HOSTILE
    analysis.add(HOSTILE, analyze_piece(midi_files[0][1]))
    analysis.failed.append((HOSTILE, HOSTILE))
    rejected = [{"path": HOSTILE, "kind": "unreadable", "reason": HOSTILE}]
    duplicates = [{"dropped": HOSTILE, "kept": HOSTILE, "kind": "exact"}]
    text, page = made(analysis, tmp_path, rejected, duplicates)
    assert "<script" not in text
    assert not [tag for tag, _ in page.tags if tag == "script"]
    shown = HOSTILE.replace("\udcff", r"\udcff")
    assert page.text.count(shown) >= 8  # title, heading, piece, failed twice, refused twice, duplicate twice
    assert "49" not in shown


def test_every_number_of_the_panels_is_drawn(analysis, tmp_path):
    _, page = made(analysis, tmp_path)
    panels = panels_for(analysis.to_dict())
    bars = [item for tag, item in page.tags if tag == "rect"]
    assert len(bars) == sum(sum(count > 0 for count in panel["counts"]) for panel in panels.values())
    assert [item["aria-label"].split(":")[0] for tag, item in page.tags if tag == "svg"] == list(panels)
    for bar in bars:  # inside the drawing
        assert 0 <= float(bar["x"]) <= float(bar["x"]) + float(bar["width"]) <= 320
        assert float(bar["y"]) + float(bar["height"]) == pytest.approx(120, abs=0.02)
    assert f"C4: {analysis.pitch_counts()[60]}" in page.text


def test_panels_hold_every_count(analysis):
    found = analysis.to_dict()
    panels = panels_for(found)
    assert sum(panels["Pitch"]["counts"]) == analysis.pitch_counts().sum()
    assert panels["Pitch"]["labels"][0].startswith("C")  # whole octaves
    assert len(panels["Pitch"]["labels"]) % 12 == 0
    assert sum(panels["Instruments"]["counts"]) == analysis.grid_notes
    assert sum(panels["Keys"]["counts"]) == sum(panels["Duration"]["counts"]) == len(analysis.pieces)
    for panel in panels.values():
        assert len(panel["counts"]) == len(panel["labels"] if "labels" in panel else panel["edges"][1:])
    many = {**found, "keys": {f"key {number}": 100 - number for number in range(40)}}
    keys = panels_for(many)["Keys"]
    assert keys["labels"][-1] == "others"
    assert (len(keys["labels"]), sum(keys["counts"])) == (MOST_BARS + 1, sum(range(61, 101)))


def test_what_it_says(analysis, tmp_path):
    _, page = made(analysis, tmp_path, [{"path": "bad.mid", "kind": "no_notes", "reason": "no notes"}])
    words = " ".join(page.text.split())
    assert f"{len(analysis.pieces)} pieces analysed, 1 files refused, 0 duplicates" in words
    assert "bad.mid no_notes no notes" in words
    for item in recommend(analysis):
        assert item.value in words
        assert item.reason in words
        assert all(override in words for override in item.overrides)
    assert "midifactory train songs data.segment.unit=seconds" in words
    low, high = np.flatnonzero(analysis.pitch_counts())[[0, -1]]
    assert f"keeps to MIDI pitches {low} to {high} unless" in words


def test_long_tables_are_cut_and_say_so(analysis, tmp_path):
    rejected = [{"path": f"{number}.mid", "kind": "x", "reason": "y"} for number in range(MOST_ROWS + 7)]
    _, page = made(analysis, tmp_path, rejected)
    assert f"{MOST_ROWS - 1}.mid" in page.text
    assert f"{MOST_ROWS}.mid" not in page.text
    assert "and 7 more in analysis.json" in page.text


def test_a_corpus_of_drums_and_one_of_nothing(score_from, tmp_path):
    save_score(score_from([(-1, [(0, 1, 36, 80), (1, 1, 38, 80)])]), tmp_path / "drums.mid")
    drums = Analysis("drums")
    drums.add("drums.mid", analyze_piece(tmp_path / "drums.mid"))
    _, page = made(drums, tmp_path)
    assert "Tessitura" not in page.text
    assert "Pitch" not in panels_for(drums.to_dict())
    _, page = made(Analysis("nothing"), tmp_path)
    assert "0 pieces analysed" in page.text
    json.dumps(Analysis("nothing").to_dict(), allow_nan=False)


def test_program_names():
    assert [program_name(program) for program in (-1, 0, 127)] == ["Drums", "Acoustic Grand Piano", "Gunshot"]
