"""A trained model goes on with a user's own files: full and LoRA, resumed, and every mistake in one line."""

import json
import os
import random
import re
import shutil
from pathlib import Path

import pytest
import torch
from symusic import Note, Score, Tempo, TimeSignature, Track

from midifactory.music.score import load_score
from midifactory.training.checkpoint import load_trained
from midifactory.training.checkpoint_folder import read_checkpoint

from .conftest import TINY, Outcome, run_command, write_folder
from .test_bad_input import assert_refused

QUICK = (*TINY, "data.near_duplicates=keep")  # waltzes are much alike
LEARNING = ("trainer.max_epochs=6", "trainer.limit_train_batches=null", "finetune.lr=0.02")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Path:
    """A folder with one trained model, base.ckpt, and `my_songs`, which it has not seen."""
    folder = tmp_path_factory.mktemp("workshop")
    write_folder(folder / "my_midis")
    done = run_command(folder, "train", "my_midis", *TINY, "trainer.max_epochs=12", "run_dir=base")
    assert done.code == 0, done
    (folder / "base" / "checkpoints" / "best.ckpt").rename(folder / "base.ckpt")
    (folder / "my_songs").mkdir()
    for number in range(12):
        write_waltz(folder / "my_songs" / f"{number:02}.mid", number)
    return folder


def write_waltz(path: Path, number: int) -> None:
    """Sixteen bars of 3/4, a broken chord each, unlike any tune of the other folder."""
    generator, score = random.Random(number), Score(480)
    score.tempos.append(Tempo(0, (90, 180)[number % 2]))
    score.time_signatures.append(TimeSignature(0, 3, 4))
    track = Track(program=0)
    for bar in range(16):
        root = 43 + generator.choice((0, 2, 5, 7, 9))
        for half_beat, pitch in enumerate((0, 12, 16, 19, 16, 12)):
            track.notes.append(Note(bar * 1440 + half_beat * 240, 240, root + pitch, 100))
    score.tracks.append(track)
    path.write_bytes(score.dumps_midi())


def fine_tune(folder: Path, *arguments: str) -> Outcome:
    """A fine-tuning of seconds on my_songs."""
    return run_command(folder, "train", "my_songs", "init_from=base.ckpt", *QUICK, *arguments)


def run_of(outcome: Outcome) -> Path:
    """The folder of a training that ended well."""
    assert outcome.code == 0, outcome
    (best,) = re.findall(r"^checkpoint: (.*best\.ckpt)$", outcome.out, re.MULTILINE)
    return Path(best).parent.parent


@pytest.mark.parametrize("method", ["full", "lora"])
def test_fine_tuning_helps_and_what_it_made_composes(workshop, method):
    done = fine_tune(workshop, f"finetune={method}", *LEARNING)
    run = run_of(done)
    result = json.loads((run / "result.json").read_text())
    for split in ("validation", "test"):
        assert result[split]["nats_per_note"] < result[split]["nats_per_note_before"] - 0.1
    assert f"{result['test']['nats_per_note_before']:.3f} before fine-tuning" in done.out
    assert f"test {result['test']['nats_per_note_before']:.3f} nats per note" in done.out
    base, tuned = (load_trained(path) for path in (workshop / "base.ckpt", run / "checkpoints" / "best.ckpt"))
    assert tuned.corpus == "my_songs"
    assert tuned.finetuned["from"].endswith("base.ckpt")
    weights = tuned.model.state_dict()
    assert weights.keys() == base.model.state_dict().keys()
    changed = {name for name, value in base.model.state_dict().items() if not torch.equal(weights[name], value)}
    assert ("inputs.tokens.weight" in changed) == (method == "full")
    assert any("attention" in name for name in changed)
    (workshop / "base.ckpt").rename(workshop / "moved.ckpt")  # what was made needs nothing else
    try:
        made = run_command(workshop, "generate", str(run / "checkpoints" / "last.ckpt"), "tokens=64", "audio=false")
    finally:
        (workshop / "moved.ckpt").rename(workshop / "base.ckpt")
    (piece,) = re.findall(r"^(/.*\.mid)  \(", made.out, re.MULTILINE)
    assert load_score(Path(piece)).note_num() > 0


def test_before_is_what_the_model_says_of_the_same_pieces_untrained(workshop):
    """With a rate of nothing, after is before; and a fine-tuned model may be fine-tuned again."""
    first = run_of(fine_tune(workshop, "finetune.lr=0", "finetune=lora"))
    result = json.loads((first / "result.json").read_text())
    assert result["test"]["nats_per_note"] == pytest.approx(result["test"]["nats_per_note_before"], rel=1e-6)
    rest = ("finetune.lr=0", "optimizer=muon", "callbacks=ema")
    done = run_command(workshop, "train", "my_songs", f"init_from={first}", *QUICK, *rest)
    second = json.loads((run_of(done) / "result.json").read_text())
    assert second["test"]["nats_per_note_before"] == pytest.approx(result["test"]["nats_per_note"], rel=1e-6)


@pytest.mark.parametrize("method", [pytest.param("full", marks=pytest.mark.slow), "lora"])
def test_a_resumed_fine_tuning_ends_where_the_undisturbed_one_does(workshop, method):
    """The figure from before stays the base model's."""
    straight = run_of(fine_tune(workshop, f"finetune={method}", "trainer.max_epochs=3", "schedule=constant"))
    half = run_of(fine_tune(workshop, f"finetune={method}", "trainer.max_epochs=2", "schedule=constant"))
    done = run_command(workshop, "train", f"resume={half}", "trainer.max_epochs=3")
    assert run_of(done) == half
    one, other = (json.loads((run / "result.json").read_text()) for run in (straight, half))
    assert one["validation"] == other["validation"]
    assert one["test"] == other["test"]


def test_the_rate_the_model_and_the_tokenizer_are_those_that_were_asked_for(workshop):
    """Fine-tuning's own rate unless one is typed; dropout is free to change; fewer tokens fit."""
    run = run_of(fine_tune(workshop, "model.dropout=0.3", "tokenizer.pitch_range=[30,90]"))
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert state["lr_schedulers"][0]["base_lrs"][0] == 3e-4
    card = state["midifactory"]
    base = read_checkpoint(workshop / "base.ckpt")["midifactory"]
    assert card["model"] == base["model"] | {"dropout": 0.3}
    assert '"pitch_range": [30, 90]' in card["tokenizer"]
    typed = run_of(fine_tune(workshop, "optimizer.lr=0.001"))
    state = read_checkpoint(typed / "checkpoints" / "last.ckpt")
    assert state["lr_schedulers"][0]["base_lrs"][0] == 1e-3
    assert state["midifactory"]["tokenizer"] == base["tokenizer"]


def test_conditions_of_the_new_files_are_learnt_beside(workshop):
    run = run_of(fine_tune(workshop, "conditions=[tempo_bpm]"))
    trained = load_trained(run / "checkpoints" / "best.ckpt")
    assert trained.conditions.names == ("tempo_bpm",)
    result = json.loads((run / "result.json").read_text())
    base = json.loads((run_of(fine_tune(workshop)) / "result.json").read_text())
    # A condition that the model does not know yet changes nothing before the first step.
    assert result["test"]["nats_per_note_before"] == pytest.approx(base["test"]["nats_per_note_before"], rel=1e-6)
    done = run_command(workshop, "train", "my_songs", f"init_from={run}", *QUICK)
    assert load_trained(run_of(done) / "checkpoints" / "best.ckpt").conditions.names == ("tempo_bpm",)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["model.d_model=64"], ["base.ckpt: model.d_model is 32 in the checkpoint, 64 is asked"]),
        (["model.heads=8"], ["model.heads is 4 in the checkpoint, 8 is asked", "leave out model="]),
        (["model=gru"], ["model._target_ is", "Transformer in the checkpoint", "Recurrent is asked"]),
        (["+model.options.depth=8"], ["model.options is None in the checkpoint, {'depth': 8} is asked"]),
        (["finetune.lr=-1"], ["'lr': -1", "conf/optimizer"]),
        (["tokenizer=tsd"], ["tokens are REMI", "writes TSD", "leave out tokenizer="]),
        (["tokenizer.pitch_range=[10,109]"], ["11 of the", "unknown to the checkpoint, such as Pitch_10, Pitch_11"]),
        (["tokenizer.vocab_size=1000"], ["byte pairs", "leave out tokenizer="]),
        (["data.max_tokens=2048"], ["data.max_tokens=2048", "context of 1024", "to 1024 at most"]),
        (["finetune=lora", "finetune.rank=0"], ["finetune=lora: rank=0", "at least 1"]),
        (["finetune=half"], ["finetune=half: no such config", "full, lora"]),
    ],
)
def test_what_does_not_fit_is_said_before_any_training(workshop, arguments, parts):
    before = set((workshop / "outputs").rglob("*.ckpt"))
    done = fine_tune(workshop, *arguments)
    assert done.code == 2, done
    assert "Traceback" not in done.out + done.err
    for part in parts:
        assert part in done.message, done.message
    assert set((workshop / "outputs").rglob("*.ckpt")) == before


def test_checkpoints_that_cannot_be_gone_on_from(workshop):
    shutil.copytree(workshop / "base.ckpt", workshop / "half.ckpt")
    os.truncate(workshop / "half.ckpt" / "weights.pt", 5000)
    torch.save({"state_dict": {}}, workshop / "foreign.ckpt")
    for name, parts in {
        "gone.ckpt": ["gone.ckpt: no such file"],
        "half.ckpt": ["half.ckpt", "5000 bytes", "damaged"],
        "foreign.ckpt": ["foreign.ckpt is a single file"],
        "my_songs": ["my_songs", "checkpoints/best.ckpt"],
    }.items():
        assert_refused(run_command(workshop, "train", "my_songs", f"init_from={name}", *TINY), "init_from", *parts)


def test_lora_needs_linear_layers(workshop):
    gru = run_of(run_command(workshop, "train", "my_midis", *TINY, "model=gru", "trainer.max_epochs=1"))
    done = run_command(workshop, "train", "my_songs", f"init_from={gru}", "finetune=lora", *TINY)
    assert_refused(done, "finetune=lora", "Recurrent has no linear layers", "finetune=full")


def test_all_of_it_from_a_trained_model(workshop):
    quick = ("trainer.max_epochs=1", "generate.bars=1", "generate.audio=false", "generate.piano_roll=false")
    done = run_command(workshop, "all", "my_songs", "init_from=base.ckpt", *QUICK, *quick)
    assert done.code == 0, done
    assert "before fine-tuning" in done.out
