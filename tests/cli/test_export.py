"""`midifactory export`, and what other commands make of its folders."""

import json
import shutil

import pytest

CHECK = ("bars=1", "num_samples=2", "seed=3", "audio=false", "piano_roll=false")


@pytest.fixture(scope="module")
def exported(studio):
    """The studio's checkpoint as a folder, `hub`."""
    from cli.conftest import run_command

    done = run_command(studio, "export", "folder=hub", "name=A studio's model", "license=mit")
    assert done.code == 0, done
    assert "midifactory generate checkpoint=hub" in done.out
    assert (studio / "hub" / "README.md").read_text().startswith("---\nlicense: mit\n")
    return studio / "hub"


def music(folder, run_id):
    return [path.read_bytes() for path in sorted((folder / run_id).glob("*.mid"))]


def test_a_folder_is_a_checkpoint_for_every_command(exported, studio, in_studio):
    assert in_studio("generate", *CHECK, "hydra.run.dir=one").code == 0
    assert in_studio("generate", *CHECK, "hydra.run.dir=two", "checkpoint=hub").code == 0
    assert len(music(studio, "one")) == 2
    assert music(studio, "one") == music(studio, "two")
    assert "| test |" in (exported / "README.md").read_text()  # as the run's result.json has it
    tune = str(studio / "my_midis" / "00.mid")
    for command in (("continue", tune, "bars=1"), ("vary", tune, "keep=rhythm"), ("attention", tune)):
        extra = () if command[0] == "attention" else ("audio=false", "piano_roll=false")
        done = in_studio(*command, *extra, "checkpoint=hub")
        assert done.code == 0, done
    done = in_studio("export", "checkpoint=hub", "folder=again")
    assert done.code == 0, done
    again, before = (studio / name / "model.safetensors" for name in ("again", "hub"))
    assert again.read_bytes() == before.read_bytes()
    done = in_studio("train", "my_midis", "resume=hub")
    assert done.code == 2, done


def test_onnx_runtime_composes_the_same_music(studio, in_studio):
    pytest.importorskip("onnxruntime")
    done = in_studio("export", "format=onnx", "folder=onnx")
    assert done.code == 0, done
    assert "generate engine=onnx checkpoint=onnx" in done.out
    wishes = ("key=C", "polyphony=2", "pitch_range=[48,72]", "best_of=2", *CHECK)
    assert in_studio("generate", *wishes, "hydra.run.dir=by_torch").code == 0
    for name, checkpoint in (("by_folder", "onnx"), ("by_file", "onnx/model.onnx")):
        done = in_studio("generate", *wishes, f"hydra.run.dir={name}", "engine=onnx", f"checkpoint={checkpoint}")
        assert done.code == 0, done
        assert music(studio, name) == music(studio, "by_torch")
    record = json.loads((studio / "by_file" / "piece_01.json").read_text())
    assert record["settings"]["engine"] == "onnx"
    done = in_studio("generate", "replay=by_file/piece_01.json", "hydra.run.dir=replayed", *CHECK[-2:])
    assert done.code == 0, done
    assert music(studio, "replayed") == music(studio, "by_file")[:1]
    for arguments, words in (
        (("checkpoint=onnx",), "is an export for ONNX Runtime: generate, continue and live take it with engine=onnx"),
        (("engine=onnx",), "holds no model.onnx; make one: midifactory export format=onnx"),
        (("engine=onnx", "checkpoint=onnx", "int8=true"), "int8=true is for engine=torch"),
        (("engine=onnx", "checkpoint=onnx", "device=gpu"), "device=gpu: engine=onnx runs on the CPU"),
    ):
        done = in_studio("generate", *CHECK, *arguments)
        assert done.code == 2, done
        assert words in done.message
        assert done.message.count("\n") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("format=onx",), "format=onx: choose one of hub, onnx, torch_export (nearest: onnx)"),
        (("format=onnx", "license=mit"), "license=mit is for format=hub, not for format=onnx"),
        (("folder=my_midis",), "folder=my_midis is not empty; name a new one"),
        (("push=chorales",), "push=chorales: write OWNER/NAME"),
        (("license=My own",), "license=My own: write it as the Hub does"),
        (("checkpoint=nowhere.ckpt",), "checkpoint=nowhere.ckpt: no such file or folder"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(studio, in_studio, arguments, words):
    done = in_studio("export", *arguments, "hydra.run.dir=mistaken")
    assert done.code == 2, done
    assert words in done.message
    assert done.message.count("\n") == 0
    assert not list((studio / "mistaken").glob("*/model*"))


def test_an_engine_is_onnx_or_torch(in_studio):
    done = in_studio("generate", "engine=onxx", *CHECK)
    assert done.code == 2
    assert "engine=onxx: choose one of torch, onnx (nearest: onnx)" in done.message


def test_a_missing_package_names_its_extra(studio, in_studio, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxscript", None)
    done = in_studio("export", "format=onnx", "folder=none")
    assert done.code == 2, done
    assert "onnxscript is not installed; pip install 'midifactory[onnx]'" in done.message
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    done = in_studio("export", "push=ada/chorales", "folder=none")
    assert "push=ada/chorales needs huggingface_hub; pip install 'midifactory[hub]'" in done.message
    assert not (studio / "none").exists()


def test_a_damaged_folder_is_refused(exported, studio, in_studio):
    broken = shutil.copytree(exported, studio / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    done = in_studio("generate", *CHECK, "checkpoint=broken")
    assert done.code == 2, done
    assert "checkpoint=" in done.message
    assert "broken is damaged: model.safetensors has" in done.message
    assert done.message.count("\n") == 0
