"""From labelled folders to music that obeys the labels, by the commands alone."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from symusic import Note, Score, Tempo, TimeSignature, Track

from midifactory.music.score import load_score, note_arrays
from midifactory.training.checkpoint import load_trained

from .conftest import Outcome, run_command
from .test_bad_input import assert_refused

REGISTERS = {"low": 40, "high": 76}
NOTES_PER_BAR = {"low": 2, "high": 8}
QUIET = ("audio=false", "piano_roll=false")
TRAINING = (
    *("data.segment.unit=bars", "data.segment.length=2", "data.fractions=[0.6,0.2,0.2]"),
    *("model.d_model=32", "model.layers=1", "model.dropout=0", "optimizer.lr=0.01", "condition_dropout=0.2"),
    *("data.batch_size=4", "trainer.max_epochs=20", "accelerator=cpu", "callbacks.early_stopping=null"),
)


def write_labelled(folder: Path) -> Path:
    """Tunes in low/ and in high/, half of each of two and half of eight notes a bar, at 120 beats a minute."""
    for name, lowest in REGISTERS.items():
        (folder / name).mkdir(parents=True)
        for number in range(12):
            generator, score = random.Random(f"{name}{number}"), Score(480)
            score.tempos.append(Tempo(0, 120))
            score.time_signatures.append(TimeSignature(0, 4, 4))
            track = Track(program=0)
            ticks = 1920 // NOTES_PER_BAR["high" if number % 2 else "low"]
            for onset in range(0, 8 * 1920, ticks):
                track.notes.append(Note(onset, ticks, lowest + generator.choice((0, 2, 4, 5, 7)), 80))
            score.tracks.append(track)
            (folder / name / f"{number:02}.mid").write_bytes(score.dumps_midi())
    return folder


def train(folder: Path, mode: str) -> tuple[Path, Outcome]:
    """`folder` with a model that was told folder and density, and what its training said."""
    write_labelled(folder / "songs")
    told = ("conditions=[folder,density]", f"model.condition_mode={mode}", f"estimate={mode == 'prefix'}")
    done = run_command(folder, "train", "songs", *TRAINING, *told)
    assert done.code == 0, done
    return folder, done


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """With conditions added to every position."""
    return train(tmp_path_factory.mktemp("added"), "added")


def generated(folder: Path, *arguments: str) -> list[Path]:
    """Pieces of four bars."""
    done = run_command(folder, "generate", "bars=4", *QUIET, *arguments)
    assert done.code == 0, done
    return [Path(line) for line in re.findall(r"^(/.*\.mid)  \(", done.out, re.MULTILINE)]


def share_high(pieces: list[Path]) -> float:
    """Share of the notes that lie in the upper register."""
    return float(np.mean([(note_arrays(load_score(piece))["pitch"] > 60).mean() for piece in pieces]))


def notes_per_bar(pieces: list[Path]) -> float:
    """Of pieces of four bars."""
    return float(np.mean([load_score(piece).note_num() / 4 for piece in pieces]))


@pytest.mark.parametrize("mode", ["added", "prefix"])
def test_the_music_obeys_each_label_and_both(trained, tmp_path, mode):
    folder, _ = trained if mode == "added" else train(tmp_path, mode)
    several = ("guidance=2", "num_samples=4")
    assert share_high(generated(folder, "conditions.folder=low", *several)) < 0.2
    assert share_high(generated(folder, "conditions.folder=high", *several)) > 0.8
    assert notes_per_bar(generated(folder, "conditions.density=low", *several)) < 3
    assert notes_per_bar(generated(folder, "conditions.density=2", *several)) > 4
    both = generated(folder, "conditions.folder=high", "conditions.density=2.0", *several)
    assert share_high(both) > 0.8
    assert notes_per_bar(both) > 4


def test_a_replay_keeps_what_was_asked(trained):
    folder, _ = trained
    second = generated(folder, "conditions.folder=HIGH", "conditions.density=low", "guidance=1.5", "num_samples=2")[1]
    settings = json.loads(second.with_suffix(".json").read_text())["settings"]
    assert settings["conditions"] == {"folder": "HIGH", "density": "low"}
    assert settings["guidance"] == 1.5
    (again,) = generated(folder, str(second.with_suffix(".json")))
    assert again != second
    assert again.read_bytes() == second.read_bytes()


def test_training_says_what_was_told_what_it_is_worth_and_what_may_be_asked(trained):
    folder, done = trained
    assert "condition folder: 2 values (" in done.out
    offered = ["conditions.folder: ", "conditions.density: a number from 0.5 to 2, or low (0.5), "]
    assert all(line in done.out.partition("generation may be asked for:")[2] for line in offered)
    (run,) = (folder / "outputs" / "train").iterdir()
    result = json.loads((run / "result.json").read_text())
    for part in (result["validation"], result["test"]):
        told = part["nats_per_note_told_attributes"]
        assert told < min(part["nats_per_note"], part["nats_per_note_unconditional"])
    codec = load_trained(run / "checkpoints" / "best.ckpt").conditions
    assert codec is not None
    assert codec.names == ("folder", "density")


def test_a_generation_without_any_says_what_may_be_asked(trained):
    folder, _ = trained
    done = run_command(folder, "generate", "bars=1", *QUIET)
    assert done.code == 0, done
    assert "this model may be asked for:\n  conditions.folder: " in done.out
    done = run_command(folder, "generate", "bars=1", "conditions.folder=low", *QUIET)
    assert "may be asked" not in done.out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["conditions.style=low"], ["conditions.style", "trained with folder, density"]),
        (["conditions.folder=lowest"], ["conditions.folder=lowest", "knows", "nearest: low"]),
        (["conditions.density=9"], ["conditions.density=9", "from 0.5 to 2", "notes a beat"]),
        (["conditions.folder=it's, (a) #[b]=c"], ["conditions.folder=it's, (a) #[b]=c", "nearest"]),
        (["guidance=2"], ["guidance=2", "nothing to follow", "conditions.NAME=VALUE"]),
        (["conditions.folder=null", "guidance=2"], ["nothing to follow"]),
        (["conditions.folder=low", "guidance=-1"], ["guidance=-1", "0 or more"]),
        (["conditions.folder=low", "guidance=much"], ["guidance=much", "number"]),
        (["conditions=low"], ["conditions=low", "conditions.tune_type=jigs"]),
        (["generate.conditions.folder=low"], ["generate takes conditions.folder=low"]),
    ],
)
def test_what_the_model_does_not_know_is_told(trained, arguments, parts):
    folder, _ = trained
    assert_refused(run_command(folder, "generate", "bars=1", *QUIET, *arguments), *parts)


def test_a_model_that_was_told_nothing(in_studio):
    done = in_studio("generate", "bars=1", "conditions.tune_type=jigs", "conditions.key=A minor")
    assert_refused(done, "conditions.key", "trained without conditions", "conditions=[tune_type,key]")
    assert_refused(in_studio("generate", "bars=1", "guidance=3"), "guidance=3", "nothing to follow")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["conditions=[composer]"], ["conditions=['composer']", "have no composer", "folder", "tempo_bpm"]),
        (["conditions=composer"], ["have no composer"]),
        (["conditions=[folder,tempo_bpm]"], ["tempo_bpm is 120 in all", "leave it out"]),
        (["conditions=[3]"], ["conditions=[3]", "[tune_type,tempo_bpm]"]),
        (["conditions.folder=low"], ["train takes", "conditions=[folder]"]),
        (["conditions=[folder]", "condition_dropout=1"], ["condition_dropout=1", "below 1"]),
        (["conditions=[folder]", "data.condition_bins=1"], ["data.condition_bins=1", "at least 2"]),
        (["conditions=[folder]", "model.condition_mode=loud"], ["condition_mode=loud", "added or prefix"]),
        (["conditions=[seconds]", "data.augment.tempo_share=0.1"], ["tempo_share=0.1", "seconds"]),
        (["conditions=[densty]"], ["have no densty", "nearest: density"]),
        (["conditions=[folder]", "tokenizer=notes"], ["conditions", "note"]),
    ],
)
def test_settings_of_a_training_that_cannot_be(trained, tmp_path, arguments, parts):
    folder, _ = trained
    songs = f"data.root={folder / 'songs'}"
    assert_refused(
        run_command(tmp_path, "train", "data=folder", songs, *TRAINING, "estimate=false", *arguments), *parts
    )


def test_a_run_is_not_resumed_under_other_conditions(trained):
    folder, _ = trained
    done = run_command(folder, "train", "resume=latest", "conditions=[folder]", "trainer.max_epochs=21")
    assert_refused(done, "resume=", "conditions")
