"""`midifactory evaluate`: samples against the corpus, composed by the studio's model or lying in any folder."""

import json
from pathlib import Path

import pytest

from cli.conftest import write_folder, write_midi
from midifactory.cli import sample_sets
from midifactory.cli.evaluate import with_own_data
from midifactory.errors import UserError
from midifactory.music.score import bar_count, load_score

FEW = ("likelihood=false", "samples=3", "max_bars=2", "at_once=2")
CORPUS = ("data=folder", "data.root=my_midis", "data.fractions=[0.4,0.3,0.3]", "max_bars=4")


def newest(folder: Path) -> tuple[Path, dict]:
    """The last evaluation's folder, and what it wrote."""
    runs = sorted((folder / "outputs" / "evaluate").iterdir(), key=lambda path: path.stat().st_mtime)
    return runs[-1], json.loads((runs[-1] / "evaluation.json").read_text(encoding="utf-8"))


def test_a_model_composes_is_compared_and_goes_on_after_an_interruption(studio, in_studio, monkeypatch):
    done = in_studio("evaluate", *FEW)
    assert done.code == 0, done
    run, record = newest(studio)
    found = record["samples"]
    assert record["likelihood"] is None
    assert found["from"] == "model"
    assert found["files"] == ["0001.mid", "0002.mid", "0003.mid"]
    assert [row["file"] for row in found["pieces"]] == found["files"]
    assert all(bar_count(load_score(run / "samples" / name)) <= 2 for name in found["files"])
    assert 0 <= found["invalid_tokens_share"] < 1
    assert found["originality"]["file"] in found["files"]
    assert found["frechet_ours"]["sha256"] == record["checkpoint_sha256"]
    assert {"pitch_classes", "repetition", "chord_perplexity", "copied_ngrams_share", "frechet_ours"} <= set(
        found["metrics"]
    )
    for text in ("held-out", "human ceiling", "pitch_intervals", "up to 2 bars", "evaluation.json"):
        assert text in done.out

    # The same again: every piece is the same, and so is every figure.
    assert in_studio("evaluate", *FEW).code == 0
    again, second = newest(studio)
    assert again != run
    assert second["samples"] == found
    for name in found["files"]:
        assert (again / "samples" / name).read_bytes() == (run / "samples" / name).read_bytes()

    # Of a run that was ended in its second batch, the first one stays, and only the other is composed.
    (again / "samples" / "0003.mid").unlink()
    (again / "evaluation.json").unlink()
    composed = []
    real = sample_sets._compose_batch
    monkeypatch.setattr(sample_sets, "_compose_batch", lambda *given: composed.append(len(given[1])) or real(*given))
    assert in_studio("evaluate", *FEW, f"hydra.run.dir={again}").code == 0
    assert len(composed) == 1
    assert json.loads((again / "evaluation.json").read_text())["samples"] == found
    # Nor is anything taken for what was composed with other settings.
    assert in_studio("evaluate", *FEW, "temperature=1.1", f"hydra.run.dir={again}").code == 0
    assert len(composed) == 3


def test_any_folder_is_compared_without_a_checkpoint(tmp_path, here):
    write_folder(tmp_path / "my_midis", 14)
    folder = tmp_path / "their pieces, 1=new"
    (folder / "deep").mkdir(parents=True)
    for seed in range(3):
        write_midi(folder / "deep" / f"{seed}.mid", 100 + seed)
    (folder / "broken.mid").write_bytes(b"MThd")
    done = here("evaluate", f"samples={folder}", *CORPUS)
    assert done.code == 0, done
    run, record = newest(tmp_path)
    found = record["samples"]
    assert (record["checkpoint"], record["model"], record["likelihood"], found["frechet_ours"]) == (None,) * 4
    assert found["files"] == ["deep/0.mid", "deep/1.mid", "deep/2.mid"]
    assert (found["count"], found["left_out"][0]["file"], found["unreadable_share"]) == (3, "broken.mid", 0.25)
    assert found["invalid_tokens_share"] is None
    assert found["metrics"]["pitch_range"]["value"] > 0
    assert found["metrics"]["copied_ngrams_share"]["value"] is not None, "of the corpus' training pieces"
    assert not (run / "samples").exists()
    page = (run / "evaluation.html").read_text(encoding="utf-8")
    assert done.out.rstrip().endswith(str((run / "evaluation.html").resolve()))
    music = json.loads(page.split('id="music">')[1].split("</script>")[0])
    assert [len(piece["notes"]) for piece in music] == [load_score(folder / name).note_num() for name in found["files"]]
    assert "their pieces, 1=new on my_midis, test split" in page
    assert "left out: 1" in done.out
    assert with_own_data([f"samples={folder}", "data=folder"]) == [f"samples='{folder}'", "data=folder"]


@pytest.mark.parametrize(
    ("samples", "parts"),
    [
        ("nowhere", ("samples=nowhere does not exist",)),
        ("empty", ("samples=empty holds no .mid",)),
        ("my_midis/00.mid", ("is a file",)),
        ("broken", ("none of its 1 MIDI files", "a.mid", "truncated")),
        ("-1", ("samples=-1", "at least 0", "or a folder")),
        ("2.5", ("samples=2.5",)),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(tmp_path, here, samples, parts):
    write_folder(tmp_path / "my_midis")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.mid").write_bytes(b"MThd")
    done = here("evaluate", f"samples={samples}", "model=5-gram", "likelihood=false", *CORPUS)
    assert done.code == 2, done
    assert done.message.count("\n") == 0
    for part in parts:
        assert part in done.message


def test_a_folder_needs_music_to_be_compared_with():
    with pytest.raises(UserError, match=r"samples='?songs'?: name the music to compare it with, as data=maestro"):
        with_own_data(["samples=songs"])
