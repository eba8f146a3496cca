"""Note features from files to music by the commands: train, resume, generate, replay, and what they refuse."""

import json

import pytest

from midifactory.music.score import bar_count, load_score, note_arrays
from midifactory.training.checkpoint_folder import read_checkpoint

from .conftest import TINY, run_command, write_folder, write_midi

NOTES = (*TINY, "tokenizer=notes", "tokenizer.sequence_length_i=8", "tokenizer.sequence_length_o=4")
SAMPLES = ("callbacks.samples.every_epochs=2", "callbacks.samples.tokens=12", "trainer.log_every_n_steps=4")
GRU = (*NOTES, "model=gru", *SAMPLES)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with files and one finished training of a GRU."""
    folder = tmp_path_factory.mktemp("notes")
    write_folder(folder / "my_midis")
    write_midi(folder / "mine.mid", 50, bars=6)
    done = run_command(folder, "train", "my_midis", *GRU, "hydra.run.dir=outputs/train/gru")
    assert done.code == 0, done
    return folder


def composed(desk, *arguments):
    done = run_command(desk, "generate", "audio=false", "device=cpu", *arguments)
    assert done.code == 0, done
    return sorted(max(desk.glob("outputs/generate/*"), key=lambda path: path.stat().st_mtime).glob("*.mid"))


def test_training_leaves_a_whole_run(desk):
    run = desk / "outputs" / "train" / "gru"
    result = json.loads((run / "result.json").read_text())
    assert result["steps"] == 8
    assert result["window_notes"] == 12
    for split in ("validation", "test"):
        part = result[split]
        assert 0 < part["nats_per_note"] < 2 * part["uniform_nats_per_note"]
        assert part["unigram_nats_per_note"] < part["uniform_nats_per_note"]
        heads = ("track", "time_delta", "pitch", "duration", "velocity")
        assert part["nats_per_note"] == pytest.approx(sum(part["nats_of_features"][name] for name in heads))
    card = read_checkpoint(run / "checkpoints" / "best.ckpt")["midifactory"]
    assert card["model"]["cell"] == "gru"
    assert card["profile"]["tessitura"]
    assert load_score(run / "samples" / "epoch-0002" / "piece_02.mid").note_num() == 12
    header = (run / "csv" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/mfu", "train/padding_share", "train/gradient_norm"} <= set(header)
    assert not [name for name in header if name.startswith("val/accuracy")]
    assert result["tokens_per_s"] > 0


def test_evaluation_says_what_training_said(desk):
    done = run_command(desk, "evaluate", "checkpoint=outputs/train/gru")
    assert done.code == 0, done
    assert "not to be compared with tokens'" in done.out
    (folder,) = (desk / "outputs" / "evaluate").iterdir()
    record = json.loads((folder / "evaluation.json").read_text())
    found, trained = record["likelihood"], json.loads((desk / "outputs/train/gru/result.json").read_text())["test"]
    assert found["nats_per_note"]["value"] == pytest.approx(trained["nats_per_note"], rel=1e-5)
    for name, row in found["by_type"].items():
        assert row["nats_per_note"] == pytest.approx(trained["nats_of_features"][name], rel=1e-4)
    for name in ("unigram", "uniform"):
        figure = found["baselines"][name]["nats_per_note"]["value"]
        assert figure == pytest.approx(trained[f"{name}_nats_per_note"], rel=1e-5)
    assert record["tokenizer"]["name"] == "notes"
    refused = run_command(desk, "evaluate", "checkpoint=outputs/train/gru", "stride_tokens=2")
    assert (refused.code, len(refused.message.splitlines())) == (2, 1)


@pytest.mark.parametrize("model", ["lstm", pytest.param("transformer", marks=pytest.mark.slow)])
def test_other_models_train_too(desk, model):
    done = run_command(desk, "train", "my_midis", *NOTES, f"model={model}", f"hydra.run.dir=outputs/train/{model}")
    assert done.code == 0, done
    assert "nats per note" in done.out
    assert composed(desk, f"checkpoint=outputs/train/{model}", "tokens=9")


def test_a_run_is_resumed(desk):
    done = run_command(desk, "train", "my_midis", *GRU, "hydra.run.dir=outputs/train/resumed")
    assert done.code == 0, done
    done = run_command(desk, "train", "resume=outputs/train/resumed", "trainer.max_epochs=3")
    assert done.code == 0, done
    assert json.loads((desk / "outputs/train/resumed/result.json").read_text())["steps"] == 12
    done = run_command(desk, "train", "resume=outputs/train/resumed", "tokenizer.bins=9")
    assert done.code == 2, done
    assert "tokenizer.bins is 64 in this checkpoint, 9 is asked for" in done.message


def test_composing_from_nothing_and_from_a_file(desk):
    run = "checkpoint=outputs/train/gru"
    for piece in composed(desk, run, "tokens=20", "num_samples=2"):
        assert load_score(piece).note_num() == 20
    (piece,) = composed(desk, run, "bars=3")
    assert bar_count(load_score(piece)) == 3
    (piece,) = composed(desk, run, "prompt=mine.mid", "prompt_notes=10", "tokens=7")
    assert load_score(piece).note_num() == 17
    prompt, after = note_arrays(load_score(desk / "mine.mid")), note_arrays(load_score(piece))
    assert sorted(prompt["pitch"][prompt["onset"] == 0]) == sorted(after["pitch"][after["onset"] == 0])
    assert piece.with_suffix(".png").is_file()


def test_the_same_seed_and_a_replay_give_the_same_bytes(desk):
    settings = ("checkpoint=outputs/train/gru", "prompt=mine.mid", "seconds=4", "temperature=0.9", "top_p=0.95")
    (first,) = composed(desk, *settings, "seed=3", "hydra.run.dir=outputs/generate/first")
    before = first.read_bytes()
    (second,) = composed(desk, *settings, "seed=3", "hydra.run.dir=outputs/generate/second")
    (third,) = composed(desk, *settings, "seed=4", "hydra.run.dir=outputs/generate/third")
    assert before == second.read_bytes()
    assert before != third.read_bytes()
    (again,) = composed(desk, f"replay={first.with_suffix('.json')}", "hydra.run.dir=outputs/generate/again")
    assert again.read_bytes() == before


def test_everything_in_one_go(desk):
    done = run_command(
        desk, "all", "my_midis", *GRU, "generate.tokens=10", "generate.audio=false", "hydra.run.dir=outputs/all/notes"
    )
    assert done.code == 0, done
    (piece,) = (desk / "outputs" / "all" / "notes" / "music").glob("*.mid")
    assert load_score(piece).note_num() == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("conditions=[tempo_bpm]",), "conditions=['tempo_bpm']: note features take none"),
        (("data.augment.semitones=3",), "data.augment.semitones=3 is of tokens; leave it out with tokenizer=notes"),
        (("loss.z_loss=0.1",), "loss.z_loss=0.1 is of tokens; leave it out with tokenizer=notes"),
        (("init_from=outputs/train/gru",), "init_from=outputs/train/gru is of tokens"),
        (("model=transformer", "model.context=8"), "model.context=8: a window has 8 + 4 notes; set model.context=12"),
        (("tokenizer.loss_weights.pitch=-1",), "tokenizer.loss_weights.pitch=-1: give a number of at least 0"),
    ],
)
def test_what_training_refuses(desk, arguments, words):
    done = run_command(desk, "train", "my_midis", *GRU, *arguments)
    assert done.code == 2, done
    assert words in done.message
    assert done.message.count("\n") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("key=D minor",), "key=D minor: this model is of note features, which know none; leave it out"),
        (("tempo_bpm=90",), "tempo_bpm=90: this model is of note features"),
        (("style=melody",), "this model is of note features: style=free"),
        (("guidance=2",), "this model is of note features: style=free and guidance=1"),
        (("conditions.composer=Bach",), "conditions={'composer': 'Bach'}: this model is of note features"),
        (("pitch_range=[70,60]",), "pitch_range=[70, 60]: give the lowest and the highest"),
    ],
)
def test_what_composing_refuses(desk, arguments, words):
    done = run_command(desk, "generate", "checkpoint=outputs/train/gru", "device=cpu", *arguments)
    assert done.code == 2, done
    assert words in done.message
    assert done.message.count("\n") == 0


def test_other_commands_say_that_a_model_is_of_notes(desk):
    done = run_command(desk, "train", "my_midis", *TINY, "init_from=outputs/train/gru")
    assert done.code == 2, done
    assert "is of note features; take one of tokens here" in done.message
