"""`midifactory compare` over evaluations made by hand, as a user types it."""

import json

import numpy as np
import pytest

from cli.conftest import run_command
from evaluation_records import piece_rows, record, write_record
from midifactory.cli.arguments import to_overrides
from midifactory.errors import UserError
from pages import HOSTILE, Page


@pytest.fixture
def desk(tmp_path):
    """Two evaluations below outputs, the second by about 0.2 nats per note better, and one of another corpus."""
    shift = -0.2 + 0.02 * np.random.default_rng(1).standard_normal(20)
    write_record(tmp_path / "outputs" / "evaluate" / "one", record())
    better = record(piece_rows(20, shift=shift), checkpoint=str(tmp_path / "outputs/train/two/checkpoints/best.ckpt"))
    write_record(tmp_path / "outputs" / "evaluate" / "two, it's=2", better)
    write_record(tmp_path / "other", record(corpus="groove"))
    (tmp_path / "outputs" / "train" / "two" / "checkpoints" / "best.ckpt").mkdir(parents=True)
    (tmp_path / "outputs" / "train" / "never").mkdir()
    return tmp_path


def test_two_evaluations(desk):
    first, second = "outputs/evaluate/one", "outputs/evaluate/two, it's=2/evaluation.json"
    done = run_command(desk, "compare", first, second)
    assert done.code == 0, done
    assert "B is better than A by 0.1" in done.out
    (folder,) = (desk / "outputs" / "compare").iterdir()
    found = json.loads((folder / "compare.json").read_text())
    assert found["groups"][0]["pairs"][0]["better"] == "B"
    assert [run["run"] for run in found["runs"]] == [first, second]
    text = (folder / "compare.html").read_text(encoding="utf-8")
    page = Page(text)
    assert found["groups"][0]["pairs"][0]["says"] in page.text
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "a", "iframe"}
    assert done.out.rstrip().endswith(str((folder / "compare.html").resolve()))


@pytest.mark.parametrize("training", ["outputs/train/two", "outputs/train/two/checkpoints/best.ckpt"])
def test_a_training_means_its_evaluation(desk, training):
    done = run_command(desk, "compare", training, "outputs/evaluate/one", "seed=4")
    assert done.code == 0, done
    assert "A is better than B" in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "compare takes two or more evaluations, not none"),
        (("outputs/evaluate/one",), "not outputs/evaluate/one alone"),
        (("outputs/evaluate/one", "outputs/evaluate/on"), "no such evaluation; did you mean outputs/evaluate/one?"),
        (("outputs/evaluate/one", "outputs/evaluate/one/evaluation.json"), "are the same evaluation"),
        (("outputs/evaluate/one", "outputs/train/never"), "evaluate it first: midifactory evaluate checkpoint="),
        (("outputs/evaluate/one", "other"), "A is of corpus bach_chorales, B of groove"),
        (("outputs/evaluate/one", "old.json"), "old.json: no evaluation; evaluate again"),
        (("outputs/evaluate/one", "broken.json"), "not readable as JSON"),
        (("outputs/evaluate/one", "other", "seed=-1"), "seed=-1: give a whole number"),
    ],
)
def test_mistakes_are_one_line(desk, words, message):
    (desk / "old.json").write_text('{"nats_per_note": 3}')
    (desk / "broken.json").write_text("{")
    done = run_command(desk, "compare", *words)
    assert done.code == 2
    assert message in done.message
    assert done.message.count("\n") == 0


def test_hostile_names_stay_text(desk):
    write_record(desk / "odd", record(model=HOSTILE.replace("\udcff", "")))
    done = run_command(desk, "compare", "outputs/evaluate/one", "odd")
    assert done.code == 0, done
    (page,) = (desk / "outputs" / "compare").glob("*/compare.html")
    assert "script" not in {tag for tag, _ in Page(page.read_text(encoding="utf-8")).tags}


def test_runs_are_given_by_position():
    assert to_overrides("compare", ["a b", "it's, c", "seed=3"]) == ["runs=['a b','it\\'s, c']", "seed=3"]
    assert to_overrides("compare", ["runs=[a,b]"]) == ["runs=[a,b]"]
    with pytest.raises(UserError, match=r"compare understands .*evaluations \(folders"):
        to_overrides("compare", ["-x"])
