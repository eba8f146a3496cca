"""A checkpoint is whole or refused, plain, and never code."""

import hashlib
import json
import os
import pickle
import random
import re
import shutil
from pathlib import Path

import pytest
import torch

from midifactory import files
from midifactory.errors import UserError
from midifactory.training.checkpoint_folder import (
    CARD_FORMAT,
    WholeCheckpointIO,
    newest_good,
    read_card,
    read_checkpoint,
    read_weights,
    write_checkpoint,
)
from midifactory.training.module import CARD

NAMES = ("weights.pt", "training.pt", "card.json", "hashes.json")


def content(step=1):
    generator = torch.Generator().manual_seed(step)
    return {
        CARD: {"format": CARD_FORMAT, "model": {"d_model": 8}},
        "state_dict": {"model.weight": torch.randn(40, 10, generator=generator)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.randn(40, generator=generator)}}}],
        "global_step": step,
        "epoch": 0,
    }


@pytest.fixture
def last(tmp_path):
    write_checkpoint(content(), tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def step_of(path):
    return read_checkpoint(path)["global_step"]


def test_what_is_written_comes_back(last):
    written, read = content(), read_checkpoint(last)
    assert torch.equal(read["state_dict"]["model.weight"], written["state_dict"]["model.weight"])
    one, other = (state["optimizer_states"][0]["state"][0]["exp_avg"] for state in (read, written))
    assert torch.equal(one, other)
    assert (read["global_step"], read["epoch"]) == (1, 0)
    assert read_card(last)["model"] == {"d_model": 8}
    card, weights, digest = read_weights(last)
    assert (card["step"], list(weights)) == (1, ["model.weight"])
    assert digest == hashlib.sha256((last / "hashes.json").read_bytes()).hexdigest()


def test_the_hashes_are_of_the_files(last):
    hashes = json.loads((last / "hashes.json").read_text())
    assert sorted([*hashes, "hashes.json"]) == sorted(path.name for path in last.iterdir()) == sorted(NAMES)
    for name, entry in hashes.items():
        data = (last / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_byte_anywhere_is_refused_by_name(last, name):
    whole, chance = (last / name).read_bytes(), random.Random(3)
    named = r"(json|pt)" if name == "hashes.json" else name  # a changed hash is that of another file
    for place in [0, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(48))]:
        flipped = bytearray(whole)
        flipped[place] ^= chance.randrange(1, 256)
        (last / name).write_bytes(flipped)
        with pytest.raises(UserError, match=rf"last\.ckpt is damaged.*{named}.*take another"):
            read_checkpoint(last)
    (last / name).write_bytes(whole)
    assert step_of(last) == 1


def test_a_changed_name_among_the_hashes_is_damage_also_for_who_needs_the_weights_only(last):
    text = (last / "hashes.json").read_text()
    (last / "hashes.json").write_text(text.replace("training.pt", "treining.pt"))
    for read in (read_card, read_weights, read_checkpoint):
        with pytest.raises(UserError, match=r"last\.ckpt is damaged: hashes\.json"):
            read(last)


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_or_lost_file_is_refused_by_name(last, name):
    whole = (last / name).read_bytes()
    for size in {0, 1, len(whole) // 2, len(whole) - 1}:
        (last / name).write_bytes(whole[:size])
        with pytest.raises(UserError, match=rf"last\.ckpt is damaged.*{name}"):
            read_checkpoint(last)
    (last / name).unlink()
    with pytest.raises(UserError, match=rf"last\.ckpt.*damaged.*{name}"):
        read_checkpoint(last)


def test_what_is_no_checkpoint_is_told(tmp_path):
    for read in (read_card, read_weights, read_checkpoint):
        with pytest.raises(UserError, match=r"nothing\.ckpt: no such file"):
            read(tmp_path / "nothing.ckpt")
        with pytest.raises(UserError, match="not written by midifactory"):
            read(tmp_path)
    torch.save({"state_dict": {}, CARD: {"format": 2}}, tmp_path / "old.ckpt")
    with pytest.raises(UserError, match=r"old\.ckpt is a single file, foreign or of an older version.*train again"):
        read_card(tmp_path / "old.ckpt")


def sign(folder):
    """Make the hashes those of the files, as whoever wishes harm can do."""
    hashes = {}
    for name in NAMES[:-1]:
        data = (folder / name).read_bytes()
        hashes[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "hashes.json").write_text(json.dumps(hashes, indent=1))


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["weights.pt", "training.pt"])
@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_malicious_pickle_is_not_executed(last, write, name):
    write({"harm": Malice(last.parent / "harm")}, last / name)
    sign(last)
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        read_checkpoint(last)
    with pytest.raises(UserError):
        WholeCheckpointIO().load_checkpoint(last, weights_only=False)
    assert not (last.parent / "harm").exists()


@pytest.mark.parametrize("value", [[1, 2], torch.zeros(3), "text"])
def test_other_tensors_and_cards_are_told(last, value):
    torch.save(value, last / "weights.pt")
    sign(last)
    with pytest.raises(UserError, match=r"not written by midifactory: its weights\.pt"):
        read_weights(last)
    (last / "card.json").write_text("[1]")
    sign(last)
    with pytest.raises(UserError, match=r"not written by midifactory: its card\.json"):
        read_card(last)


@pytest.mark.parametrize("replaces", [False, True])
def test_a_kill_at_any_moment_of_a_save_leaves_the_old_or_the_new_one(tmp_path, replaces):
    """A process is forked for each system call that a save makes, and ends at that call without any cleaning up."""
    calls = 0
    while True:
        folder = tmp_path / f"{replaces}{calls}"
        target = folder / "last.ckpt"
        if replaces:
            write_checkpoint(content(1), target)
        child = os.fork()
        if child == 0:
            _die_at(calls)
            write_checkpoint(content(2), target)
            os._exit(0)
        finished = os.waitpid(child, 0)[1] == 0
        if replaces:
            assert step_of(target) in (1, 2)
        found, refused = newest_good(folder)
        assert not refused
        assert (found is not None) or not replaces
        write_checkpoint(content(3), target)
        assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
        assert step_of(target) == 3
        if finished:
            break
        calls += 1
    assert calls >= 8


def _die_at(calls):
    left = [calls]

    def dying(call):
        def wrapped(*arguments, **keywords):
            if left[0] == 0:
                os._exit(1)
            left[0] -= 1
            return call(*arguments, **keywords)

        return wrapped

    for name in ("mkdir", "rename", "fsync", "rmdir", "unlink"):
        setattr(os, name, dying(getattr(os, name)))


@pytest.mark.parametrize("failing", ["fsync", "rename", "second rename"])
def test_a_failed_save_leaves_everything_as_it_was(last, monkeypatch, failing):
    before = {path.name: path.read_bytes() for path in last.iterdir()}
    real, renames = Path.rename, []

    def no_space(*_, **__):
        raise OSError(28, "No space left on device")

    def rename(self, target):
        renames.append(target)
        return no_space() if len(renames) == (1 if failing == "rename" else 2) else real(self, target)

    with monkeypatch.context() as patch:
        if failing == "fsync":
            patch.setattr(os, "fsync", no_space)
        else:
            patch.setattr(files.Path, "rename", rename)
        with pytest.raises(OSError, match="No space left") as error:
            write_checkpoint(content(2), last)
        assert error.value.filename == str(last)
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
    assert {path.name: path.read_bytes() for path in last.iterdir()} == before


def test_the_previous_one_is_read_where_the_proper_name_is_missing(last):
    last.rename(files.previous_of(last))
    assert step_of(last) == 1
    assert newest_good(last.parent) == (files.previous_of(last), [])
    write_checkpoint(content(2), last)
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_is_removed_with_what_belongs_to_it(last):
    shutil.copytree(last, files.previous_of(last))
    WholeCheckpointIO().remove_checkpoint(last)
    WholeCheckpointIO().remove_checkpoint(last)  # gone already
    assert list(last.parent.iterdir()) == []


def test_the_newest_good_one_is_found_and_the_damaged_are_named(tmp_path):
    for name, step in (("best.ckpt", 20), ("best-10.ckpt", 10), ("last.ckpt", 30), ("other.ckpt", 30)):
        write_checkpoint(content(step), tmp_path / name)
    assert newest_good(tmp_path) == (tmp_path / "last.ckpt", [])
    os.truncate(tmp_path / "last.ckpt" / "training.pt", 9)
    (tmp_path / "best.ckpt" / "card.json").write_text("")
    found, refused = newest_good(tmp_path)
    assert found == tmp_path / "other.ckpt"
    assert sorted(re.findall(r"(\w+\.ckpt) is damaged", " ".join(map(str, refused)))) == ["best.ckpt", "last.ckpt"]
    shutil.rmtree(tmp_path / "other.ckpt")
    assert newest_good(tmp_path)[0] == tmp_path / "best-10.ckpt"
    shutil.rmtree(tmp_path / "best-10.ckpt")
    found, refused = newest_good(tmp_path)
    assert found is None
    assert len(refused) == 2
    assert newest_good(tmp_path / "nothing") == (None, [])


def test_tmpdir_is_not_used(last, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(last.parent / "no such folder"))
    write_checkpoint(content(2), last)
    assert step_of(last) == 2
