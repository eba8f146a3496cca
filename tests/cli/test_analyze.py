"""`midifactory analyze` and what comes of it: the report, the advice that can be typed, the range that is kept."""

import json
import os
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from symusic import Score

from cli.conftest import run_command, write_folder
from midifactory.cli.analyze import corpus_arguments
from midifactory.music.profile import corpus_profile


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    """A folder with songs, a copy and a broken file in `songs`, and the one analysis of it."""
    folder = tmp_path_factory.mktemp("analysed")
    songs = write_folder(folder / "songs", 6)
    (songs / "broken <b>.mid").write_bytes(b"MThd no music")
    (songs / "copy.mid").write_bytes((songs / "00.mid").read_bytes())
    done = run_command(folder, "analyze", "songs")
    assert done.code == 0, done
    (run,) = (folder / "outputs" / "analyze").iterdir()
    return folder, done, run


def test_it_writes_a_report_the_numbers_a_picture_and_the_profile(analysed):
    folder, done, run = analysed
    listing = json.loads((run / "analysis.json").read_text())
    assert [piece["id"] for piece in listing["pieces"]] == [f"{number:02}.mid" for number in range(6)]
    assert listing["pieces"][0]["tempo_bpm"] == pytest.approx(100, abs=0.01)
    assert listing["metres_in_bars"] == {"4/4": 48}
    assert [item["dropped"] for item in listing["duplicates"]] == ["copy.mid"]
    assert "broken" in listing["rejected"][0]["path"]
    report = (run / "report.html").read_text()
    assert "broken &lt;b&gt;.mid" in report
    assert (run / "analysis.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    profile = json.loads((run / "profile.json").read_text())
    assert profile == corpus_profile([folder / "songs" / f"{number:02}.mid" for number in range(6)])
    for name in ("report.html", "analysis.json", "analysis.png", "profile.json"):
        assert str(run / name) in done.out


def test_the_summary_fits_a_terminal(analysed):
    _, done, _ = analysed
    lines = done.out.splitlines()
    assert 15 <= len(lines) <= 40
    for word in ("6 pieces", "tempo estimated", "chords:", "keys:", "metres: 4/4 100 %", "data.segment.length="):
        assert word in done.out


def test_the_advice_is_what_a_training_takes(analysed):
    """Typed as printed, the overrides make a training whose tokenizer has that range and that grid."""
    folder, done, run = analysed
    advice = json.loads((run / "analysis.json").read_text())["recommendations"]
    overrides = [override for item in advice for override in item["overrides"]]
    printed = [line.partition("  (")[0].strip() for line in done.out.split("recommended:\n")[1].splitlines()]
    assert [word for line in printed[: len(advice)] for word in shlex.split(line)] == overrides
    prepared = run_command(folder, "prepare", "songs", *overrides)
    assert prepared.code == 0, prepared
    counted = next(item["reason"] for item in advice if item["setting"] == "context")
    assert "counted on this corpus" in counted


def test_generation_keeps_to_the_corpus_tessitura_unless_asked(in_studio, studio):
    """The studio's tunes lie between 36 and 71; a model of a second's training would go anywhere."""

    def pitches(*arguments):
        done = in_studio("generate", "bars=4", "seed=3", "temperature=3", "top_k=0", "audio=false", *arguments)
        assert done.code == 0, done
        folder = max((studio / "outputs" / "generate").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        record = json.loads((folder / "piece_01.json").read_text())
        score = Score(str(folder / "piece_01.mid"))
        found = [note.pitch for track in score.tracks if not track.is_drum for note in track.notes]
        return found, record

    profile = corpus_profile(sorted((studio / "my_midis").iterdir()))
    low, high = profile["tessitura"]["lowest"], profile["tessitura"]["highest"]
    found, record = pitches()
    assert found
    assert all(low <= pitch <= high for pitch in found)
    assert record["settings"]["pitch_range"] is None
    found, record = pitches("pitch_range=[90,95]")
    assert found
    assert all(90 <= pitch <= 95 for pitch in found)
    assert record["settings"]["pitch_range"] == [90, 95]
    wide, _ = pitches("pitch_range=[0,127]")
    assert min(wide) < low or max(wide) > high  # the range was what held it


@pytest.mark.parametrize("value", ["[60]", "[70,60]", "[0,200]", "high", "[0,5]", "[a,b]"])
def test_a_range_that_is_none_is_refused(in_studio, value):
    done = in_studio("generate", f"pitch_range={value}", "audio=false")
    assert done.code == 2
    assert "pitch_range=" in done.message
    assert len(done.message.splitlines()[-1]) < 200


def test_an_old_replay_is_still_read(in_studio, studio, tmp_path):
    done = in_studio("generate", "bars=2", "audio=false", "piano_roll=false", f"run_dir={studio / 'ranged'}")
    assert done.code == 0, done
    record = json.loads((studio / "ranged" / "piece_01.json").read_text())
    del record["settings"]["pitch_range"]
    (tmp_path / "old.json").write_text(json.dumps(record))
    again = in_studio("generate", f"replay={tmp_path / 'old.json'}", "audio=false", f"run_dir={tmp_path / 'again'}")
    assert again.code == 0, again
    assert (tmp_path / "again/piece_01.mid").read_bytes() == (studio / "ranged/piece_01.mid").read_bytes()


def test_a_refused_file_of_any_name_is_listed(tmp_path):
    songs = write_folder(tmp_path / "songs", 4)
    Path(os.fsdecode(os.fsencode(songs) + b"/\xff.mid")).write_bytes(b"MThd no music")
    done = run_command(tmp_path, "analyze", "songs", "run_dir=found", "prepare.workers=0")
    assert done.code == 0, done
    (row,) = json.loads((tmp_path / "found/analysis.json").read_text())["rejected"]
    assert row["path"].endswith("\\xff.mid")
    assert "\\xff.mid" in (tmp_path / "found/report.html").read_text()


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ({"name": "folder", "root": "my midis"}, ["my midis"]),
        ({"name": "folder", "archive": "my.zip"}, ["data=folder", "data.archive=my.zip"]),
        (
            {"name": "maestro", "root": "here", "archive": "m.zip"},
            ["data=maestro", "data.root=here", "data.archive=m.zip"],
        ),
        ({"name": "bach_chorales"}, ["data=bach_chorales"]),
    ],
)
def test_the_training_it_recommends_is_of_the_same_corpus(given, typed):
    assert corpus_arguments(OmegaConf.create({"root": None, "archive": None, **given})) == typed
