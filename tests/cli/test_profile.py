"""`midifactory profile`: a trace that a viewer opens, a table, and nothing else."""

import gzip
import json
import re

import pytest

from cli.conftest import TINY, write_folder
from midifactory.training.monitor import PHASES


@pytest.fixture
def desk(tmp_path):
    write_folder(tmp_path / "my_midis")
    return tmp_path


def test_a_trace_of_as_many_steps_as_asked_for(desk, here):
    done = here("profile", "my_midis", *TINY, "profile.warmup=1", "profile.steps=2")
    assert done.code == 0, done
    (folder,) = desk.glob("outputs/profile/*")
    assert "https://ui.perfetto.dev" in done.out
    assert f"trace of 2 batches: {folder}/trace.json.gz" in done.out
    with gzip.open(folder / "trace.json.gz", "rt") as file:
        events = json.load(file)["traceEvents"]
    spans = {phase: [event for event in events if event.get("name") == phase] for phase in PHASES}
    assert {phase: len(found) for phase, found in spans.items()} == dict.fromkeys(PHASES, 2)
    inside = {event["name"] for event in events if str(event.get("name", "")).startswith("aten::")}
    assert {"aten::addmm", "aten::embedding"} <= inside
    record = json.loads((folder / "profile.json").read_text())
    assert set(record["seconds"]) == set(PHASES)
    seconds = [row["seconds"] for row in record["operators"]]
    assert seconds == sorted(seconds, reverse=True)
    assert re.search(rf"^{re.escape(record['operators'][0]['name'][:48])} +\d+ +[\d.]+ +[\d.]+%$", done.out, re.M)
    assert re.search(r"^of the steps' time: data \d+%, forward \d+%, backward \d+%, optimizer \d+%$", done.out, re.M)
    kept = {path.name for path in folder.iterdir()}
    assert kept == {".hydra", "profile.log", "corpus.json", "manifest.parquet", "trace.json.gz", "profile.json"}


def test_a_training_too_short_to_record_is_told(desk, here):
    done = here("profile", "my_midis", *TINY, "profile.warmup=1000")
    assert done.code == 2
    assert "ended before any batch was recorded" in done.message
    assert not list(desk.glob("outputs/profile/*/trace.json.gz"))


@pytest.mark.parametrize("wrong", ["profile.steps=0", "profile.warmup=-1", "profile.steps=few", "resume=latest"])
def test_what_cannot_be_recorded_is_told(desk, here, wrong):
    done = here("profile", "my_midis", *TINY, wrong)
    assert done.code == 2
    assert wrong in done.message
    assert len(done.message.splitlines()) == 1
