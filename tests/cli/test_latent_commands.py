"""`midifactory interpolate` and `midifactory vary`, with a VAE trained for a second."""

import json
from pathlib import Path

import pytest
from symusic import Score

from cli.conftest import TINY, run_command, write_folder, write_midi
from midifactory.music.score import bar_count

BARS = ("data.segment.unit=bars", "data.segment.length=2", "data.segment.with_next=true")
QUICK = ("piano_roll=false",)


@pytest.fixture(scope="module", params=[pytest.param("vae", marks=pytest.mark.slow), "vae_transformer"])
def desk(request, tmp_path_factory) -> Path:
    """A folder with `my_midis`, two files of other lengths and a trained VAE."""
    folder = tmp_path_factory.mktemp("desk")
    write_folder(folder / "my_midis")
    write_midi(folder / "first one.mid", 30, bars=4)
    write_midi(folder / "last, one.mid", 31, bars=7)
    done = run_command(folder, "train", "my_midis", f"model={request.param}", *TINY, *BARS)
    assert done.code == 0, done
    assert "nats per note" in done.out
    return folder


def newest(desk: Path, command: str) -> Path:
    return max((desk / "outputs" / command).iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


def test_interpolate_writes_every_step_a_picture_and_a_record(desk):
    done = run_command(desk, "interpolate", "first one.mid", "last, one.mid", "steps=3")
    assert done.code == 0, done
    folder = newest(desk, "interpolate")
    assert [path.name for path in sorted(folder.glob("*.mid"))] == ["step_01.mid", "step_02.mid", "step_03.mid"]
    assert [bar_count(Score(path)) for path in sorted(folder.glob("*.mid"))] == [4, 6, 7]
    assert (folder / "steps.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(folder.glob("step_*.png"))) == 3
    record = json.loads((folder / "interpolation.json").read_text())
    assert [step["share"] for step in record["steps"]] == [0, 0.5, 1]
    assert {Path(path).name for path in record["sources_sha256"]} == {"first one.mid", "last, one.mid"}
    assert record["settings"]["seed"] == 0
    assert done.out.count("originality: longest copy ") == 3
    for step in record["steps"]:
        assert step["originality"]["notes"] > 0
        for end in ("to_start", "to_end"):
            assert set(step[end]) == {"notes", "onsets", "pitch_classes"}
            assert all(0 <= value <= 1 for value in step[end].values())


def test_its_likelihood_is_a_bound_and_said_to_be(desk):
    done = run_command(desk, "evaluate", "samples=0")
    assert done.code == 0, done
    assert "an upper bound" in done.out
    found = json.loads((newest(desk, "evaluate") / "evaluation.json").read_text())["likelihood"]
    result = json.loads((newest(desk, "train") / "result.json").read_text())
    assert (found["kind"], found["window_tokens"]) == ("bound", None)
    assert found["nats_per_note"]["value"] == pytest.approx(result["test"]["nats_per_note"], rel=1e-5)
    assert found["by_type"]["(latent)"]["tokens"] == 0
    types = sum(row["nats_per_note"] for row in found["by_type"].values())
    assert types == pytest.approx(found["nats_per_note"]["value"])


def test_the_same_settings_give_the_same_bytes(desk):
    made = []
    for _ in range(2):
        drawn = ("first one.mid", "last, one.mid", "steps=2", "top_k=0", "seed=7", *QUICK)
        assert run_command(desk, "interpolate", *drawn).code == 0
        made.append([path.read_bytes() for path in sorted(newest(desk, "interpolate").glob("*.mid"))])
    assert made[0] == made[1]


def test_vary_by_nothing_reconstructs_and_by_more_moves_away(desk):
    runs = {}
    for name, arguments in {
        "nothing": ("amount=0",),
        "little": ("amount=0.5", "num_samples=2"),
        "again": ("amount=0.5", "num_samples=2"),
    }.items():
        done = run_command(desk, "vary", "first one.mid", *arguments, *QUICK)
        assert done.code == 0, done
        runs[name] = [path.read_bytes() for path in sorted(newest(desk, "vary").glob("*.mid"))]
    assert run_command(desk, "interpolate", "first one.mid", "last, one.mid", "steps=2", *QUICK).code == 0
    assert runs["nothing"] == [(newest(desk, "interpolate") / "step_01.mid").read_bytes()]
    assert len(runs["little"]) == 2
    assert runs["little"] == runs["again"]


def test_an_attribute_is_the_difference_of_two_folders(desk):
    for name, seeds in (("with", (40, 41)), ("without", (42, 43))):
        (desk / name).mkdir(exist_ok=True)
        for seed in seeds:
            write_midi(desk / name / f"{seed}.mid", seed, bars=2)
    attribute = ("attribute_with=with", "attribute_without=without", "amount=0", *QUICK)
    made = []
    for more in ((), ("attribute_amount=0",), ("attribute_with=without",)):
        done = run_command(desk, "vary", "first one.mid", *attribute, *more)
        assert done.code == 0, done
        made.append([path.read_bytes() for path in newest(desk, "vary").glob("*.mid")])
    assert made[1] == made[2]  # no attribute, and one of no difference
    record = json.loads((newest(desk, "vary") / "variation.json").read_text())
    assert len(record["sources_sha256"]) == 3
    assert record["variations"][0]["originality"]["notes"] > 0
    assert record["settings"]["attribute_amount"] == 1.0


def test_generate_draws_from_the_prior(desk):
    done = run_command(desk, "generate", "bars=3", "num_samples=2", "audio=false", *QUICK)
    assert done.code == 0, done
    pieces = sorted(newest(desk, "generate").glob("*.mid"))
    assert [bar_count(Score(path)) for path in pieces] == [3, 3]
    assert pieces[0].read_bytes() != pieces[1].read_bytes()


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("interpolate", ("first one.mid",), "interpolate needs a MIDI file; set end=FILE.mid"),
        ("interpolate", (), "interpolate needs a MIDI file; set start=FILE.mid"),
        ("interpolate", ("first one.mid", "none.mid"), "end=none.mid: no such file"),
        ("interpolate", ("first one.mid", "last, one.mid", "steps=1"), "steps=1: give a whole number of at least 2"),
        ("interpolate", ("first one.mid", "last, one.mid", "steps=few"), "steps=few"),
        ("interpolate", ("first one.mid", "last, one.mid", "no more.mid"), "interpolate takes one"),
        ("interpolate", ("first one.mid", "empty.mid"), "end=empty.mid: no notes"),
        ("interpolate", ("first one.mid", "last, one.mid", "temperature=-1"), "temperature=-1"),
        ("vary", (), "vary needs a MIDI file; set prompt=FILE.mid"),
        ("vary", ("first one.mid", "amount=-0.1"), "amount=-0.1: give a number of at least 0"),
        ("vary", ("first one.mid", "num_samples=0"), "num_samples=0"),
        ("vary", ("first one.mid", "attribute_with=my_midis"), "attribute_with and attribute_without belong together"),
        ("vary", ("first one.mid", "attribute_with=my_midis", "attribute_without=void"), "attribute_without=void: no"),
        ("vary", ("first one.mid", "attribute_amount=much"), "attribute_amount=much: give a number"),
        ("vary", ("first one.mid", "seed=-1"), "seed=-1"),
    ],
)
def test_a_mistake_is_one_line(desk, command, arguments, said):
    (desk / "void").mkdir(exist_ok=True)
    (desk / "empty.mid").write_bytes(Score(480).dumps_midi())
    done = run_command(desk, command, *arguments)
    assert done.code == 2, done
    assert said in done.message
    assert done.message.count("\n") == 0


def test_a_model_without_a_latent_is_refused(in_studio, desk):
    for command, files in (("vary", ("my_midis/00.mid",)), ("interpolate", ("my_midis/00.mid", "my_midis/01.mid"))):
        done = in_studio(command, *files)
        assert done.code == 2, done
        assert f"{command} needs a model with a latent, this checkpoint holds a Transformer; train one" in done.message
        assert "experiment=vae_chorales or model=vae" in done.message
        assert done.message.count("\n") == 0
