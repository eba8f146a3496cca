"""The Space's own part: it composes with a folder, and its files say what the Hub asks. Gradio is not needed."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml

from midifactory.errors import UserError
from midifactory.export.hub import save_folder
from midifactory.music.score import bar_count, load_score
from midifactory.training.checkpoint import load_trained

ROOT = Path(__file__).resolve().parent.parent
SPACE = ROOT / "apps" / "spaces"


@pytest.fixture(scope="module")
def space():
    """The module composing.py of the Space, which stands in no package."""
    spec = importlib.util.spec_from_file_location("space_composing", SPACE / "composing.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["space_composing"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An exported model, hardly trained."""
    from cli.conftest import TINY, run_command, write_folder

    here = tmp_path_factory.mktemp("space")
    write_folder(here / "my_midis", 8)
    done = run_command(here, "train", "my_midis", *TINY)
    assert done.code == 0, done
    (checkpoint,) = here.glob("outputs/train/*/checkpoints/best.ckpt")
    return save_folder(load_trained(checkpoint), here / "model")


def test_a_visitor_gets_a_piece(space, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MIDIFACTORY_CHECKPOINT", str(folder))
    model = space.load_model()
    piece = space.compose_for_web(model, tmp_path, chords="C G", bars=2, tempo_bpm=100, seed=4)
    score = load_score(piece.midi)
    assert bar_count(score) == 2
    assert score.tempos[0].qpm == pytest.approx(100)
    first = {note.pitch % 12 for track in score.tracks for note in track.notes if note.time == 0}
    assert {0, 4, 7} <= first
    assert piece.picture.read_bytes().startswith(b"\x89PNG")
    assert piece.sound.read_bytes().startswith(b"RIFF")
    assert piece.about.startswith(f"2 bars, {score.note_num()} notes")
    again = tmp_path / "again"
    again.mkdir()
    same = space.compose_for_web(model, again, chords="C G", bars=2, tempo_bpm=100, seed=4)
    assert same.midi.read_bytes() == piece.midi.read_bytes()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"bars": 33}, "bars=33: give 1 to 32"),
        ({"bars": 0}, "bars=0: give 1 to 32"),
        ({"seed": -1}, "seed=-1: give a whole number"),
        ({"chords": "H#"}, "H#"),
        ({"style": "polka"}, r"style=polka: choose one of .* \(nearest: "),
        ({"temperature": -1}, "temperature=-1"),
    ],
)
def test_what_a_visitor_may_not_have(space, folder, tmp_path, monkeypatch, asked, words):
    monkeypatch.setenv("MIDIFACTORY_CHECKPOINT", str(folder))
    with pytest.raises(UserError, match=words):
        space.compose_for_web(space.load_model(), tmp_path, **asked)


def test_a_model_that_is_not_there(space, tmp_path, monkeypatch):
    monkeypatch.setenv("MIDIFACTORY_CHECKPOINT", str(tmp_path))
    with pytest.raises(UserError, match="was not written by midifactory"):
        space.load_model()


def test_the_head_is_what_the_hub_asks():
    head = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", (SPACE / "README.md").read_text(), re.DOTALL)[1])
    assert head["sdk"] == "gradio"
    assert (SPACE / head["app_file"]).is_file()
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {head["colorFrom"], head["colorTo"]} <= colours
    assert len(head["short_description"]) <= 60
    assert "gradio" in (SPACE / "requirements.txt").read_text()


def test_the_page_takes_what_composing_gives(space):
    """Read, not run: Gradio is no dependency of the tests."""
    tree = ast.parse((SPACE / "app.py").read_text())
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "composing"]
    names = {alias.name for node in taken for alias in node.names}
    assert {"compose_for_web", "load_model"} <= names
    assert all(hasattr(space, name) for name in names)
