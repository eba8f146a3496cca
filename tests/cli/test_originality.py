"""Every generated piece says how much of it stands in the training set; where nobody can know, that is said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from symusic import Score

from cli.conftest import TINY, run_command, write_folder, write_midi
from midifactory.data.originality import index_folder, index_training
from midifactory.music.originality import Originality, OriginalityIndex
from midifactory.tokens.store import TokenStore
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.checkpoint import load_trained

QUICK = ("bars=2", "audio=false", "piano_roll=false", "device=cpu")


@pytest.fixture
def atelier(studio, tmp_path) -> Path:
    """A copy of the studio, to be spoilt."""
    folder = tmp_path / "atelier"
    shutil.copytree(studio, folder, symlinks=True)
    return folder


def newest_piece(folder: Path) -> Path:
    """The .json of the last run's first piece."""
    return max(folder.glob("outputs/generate/*/piece_01.json"), key=lambda path: path.stat().st_mtime_ns)


def newest_record(folder: Path) -> dict:
    """What stands in it."""
    return json.loads(newest_piece(folder).read_text())


def index_of(folder: Path) -> Path:
    """The one index of the studio's corpus."""
    (found,) = folder.glob("outputs/prepared/*/originality-*")
    return found


def test_a_generated_piece_says_what_of_it_is_copied(atelier):
    done = run_command(atelier, "generate", *QUICK, "num_samples=2")
    assert done.code == 0
    assert done.out.count("originality: ") == 2
    record = newest_record(atelier)
    originality = Originality([OriginalityIndex(index_of(atelier))])
    score = Score(newest_piece(atelier).with_suffix(".mid"))
    assert record["originality"] == originality.of(score).to_dict()


def test_the_index_holds_the_training_pieces_alone(atelier):
    (corpus,) = atelier.glob("outputs/train/*/corpus.json")
    training = {piece["id"] for piece in json.loads(corpus.read_text())["pieces"] if piece["split"] == "train"}
    assert set(OriginalityIndex(index_of(atelier)).pieces) == training


def test_the_notes_of_a_prompt_are_not_the_models(atelier):
    training = OriginalityIndex(index_of(atelier)).pieces[0]
    done = run_command(atelier, "generate", f"prompt=my_midis/{training}", "prompt_bars=4", *QUICK)
    assert done.code == 0, done
    record = newest_record(atelier)
    assert 0 < record["originality"]["notes"] < record["notes"]
    assert record["originality"]["exact"]["notes"] < 16


def test_any_file_can_be_compared(atelier):
    training = OriginalityIndex(index_of(atelier)).pieces[0]
    write_midi(atelier / "new.mid", seed=999)
    done = run_command(atelier, "originality", f"my_midis/{training}", "new.mid")
    assert done.code == 0, done
    copy, new = [line for line in done.out.splitlines() if "originality" in line]
    assert training in copy
    assert "100%" in copy
    assert "100%" not in new


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("no.mid",), "no such file"), (("corpus.txt",), "give another MIDI file"), (("a.mid", "checkpoint=x"), "x")],
)
def test_mistakes_are_one_line(atelier, arguments, said):
    (atelier / "corpus.txt").write_text("a")
    write_midi(atelier / "a.mid", seed=1)
    done = run_command(atelier, "originality", *arguments)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_without_an_index_generation_says_so_and_goes_on(atelier):
    shutil.rmtree(index_of(atelier))
    done = run_command(atelier, "generate", *QUICK)
    assert done.code == 0
    (line,) = [line for line in done.out.splitlines() if "originality" in line]
    assert "not reported" in line
    assert "midifactory prepare" in line
    assert newest_record(atelier)["originality"] is None
    refused = run_command(atelier, "generate", *QUICK, "max_copy_beats=8")
    assert refused.code == 2
    assert "midifactory prepare" in refused.err
    # Which mends it: the index of the same pieces lies at the same place.
    again = run_command(atelier, "prepare", "my_midis", "data.fractions=[0.5,0.25,0.25]")
    assert again.code == 0
    index_of(atelier)


def test_a_damaged_index_is_named(atelier):
    (index_of(atelier) / "codes.npy").unlink()
    done = run_command(atelier, "generate", *QUICK)
    assert done.code == 0
    assert "originality is not reported" in done.out


def test_the_index_is_found_from_another_folder(atelier, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (run,) = atelier.glob("outputs/train/*")
    done = run_command(tmp_path / "elsewhere", "generate", f"checkpoint={run}", *QUICK)
    assert done.code == 0, done
    assert "originality: longest copy" in done.out


def test_a_limit_on_copies_is_a_setting_like_others(atelier):
    done = run_command(atelier, "generate", *QUICK, "max_copy_beats=1.5")
    assert done.code == 0, done
    record = newest_record(atelier)
    assert record["settings"]["max_copy_beats"] == 1.5
    assert record["originality"]["transposed_beats"] <= 1.5
    for wrong, said in (("max_copy_beats=0", "more than 0"), ("max_copy_beats=much", "give a number")):
        refused = run_command(atelier, "generate", *QUICK, wrong)
        assert refused.code == 2
        assert said in refused.err
    refused = run_command(atelier, "generate", *QUICK, "max_copy_beats=8", "grammar=false")
    assert refused.code == 2
    assert "max_copy_beats" in refused.err


def test_fine_tuning_remembers_both_training_sets(atelier):
    write_folder(atelier / "more")
    for number in range(12):
        write_midi(atelier / "more" / f"{number:02}.mid", 500 + number)
    done = run_command(atelier, "train", "more", *TINY, "init_from=latest")
    assert done.code == 0, done
    (before,) = atelier.glob("outputs/prepared/my_midis-*/originality-*")
    (after,) = atelier.glob("outputs/prepared/more-*/originality-*")
    (_, run) = sorted(atelier.glob("outputs/train/*"))
    recorded = load_trained(run / "checkpoints" / "best.ckpt").originality
    assert [(atelier / path).resolve() for path in recorded] == [before.resolve(), after.resolve()]


def test_data_can_be_left_unindexed(atelier):
    shutil.rmtree(index_of(atelier))
    done = run_command(atelier, "prepare", "my_midis", "data.originality=false")
    assert done.code == 0
    assert not list(atelier.glob("outputs/prepared/*/originality-*"))


def test_an_interrupted_index_leaves_nothing_and_is_built_anew(atelier, monkeypatch):
    folder = index_of(atelier)
    store, pieces = TokenStore(folder.parent), OriginalityIndex(folder).pieces
    assert index_folder(store, pieces) == folder
    shutil.rmtree(folder)
    decode, calls = Tokenizer.decode, []

    def interrupted(self, ids):
        calls.append(ids)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode(self, ids)

    monkeypatch.setattr(Tokenizer, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index_training(store, pieces, progress=False)
    assert not [path for path in folder.parent.iterdir() if "originality-" in path.name]
    assert index_training(store, pieces, progress=False) == folder
    assert np.load(folder / "notes.npy").size
    count = len(calls)
    index_training(store, pieces, progress=False)
    assert len(calls) == count  # it is there
