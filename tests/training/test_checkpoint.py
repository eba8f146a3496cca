"""A checkpoint is whole, plain, its own description, and never code."""

import pickle

import pytest
import torch

from midifactory.errors import UserError
from midifactory.training.checkpoint import CARD, WholeFileCheckpointIO, load_trained, read_checkpoint


@pytest.fixture
def saved(new_run):
    run = new_run(epochs=1).fit()
    return run


def rewrite(path, change):
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    return path


@torch.no_grad()
def test_a_loaded_model_says_what_the_trained_one_said(saved, tokenizer):
    trained = load_trained(saved.last)
    ids = torch.randint(tokenizer.vocab_size, (2, 20))
    assert torch.equal(trained.model(ids).logits, saved.module.model.eval()(ids).logits)
    assert not trained.model.training
    assert trained.tokenizer.tokens == tokenizer.tokens
    assert trained.tokenizer.fingerprint == tokenizer.fingerprint
    assert (trained.window, trained.profile, trained.corpus) == (255, {"metre": "4/4"}, "hand")


def test_a_checkpoint_holds_plain_values_only(saved):
    checkpoint = torch.load(saved.last, weights_only=True)
    assert {CARD, "state_dict", "optimizer_states"} <= checkpoint.keys()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_an_error_with_its_size(saved, share):
    data = saved.last.read_bytes()
    kept = data[: int(len(data) * share)]
    saved.last.write_bytes(kept)
    with pytest.raises(UserError, match=rf"last.ckpt \({len(kept)} bytes\) is damaged"):
        load_trained(saved.last)


def test_a_missing_checkpoint_is_an_error_with_its_path(tmp_path):
    with pytest.raises(UserError, match=r"nothing.ckpt: no such file"):
        load_trained(tmp_path / "nothing.ckpt")
    with pytest.raises(UserError, match="no such file"):
        load_trained(tmp_path)


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"weights": torch.zeros(2)}, [1, 2], torch.zeros(3)])
def test_a_foreign_checkpoint_is_an_error(tmp_path, content):
    torch.save(content, tmp_path / "foreign.ckpt")
    with pytest.raises(UserError, match="not written by midifactory"):
        load_trained(tmp_path / "foreign.ckpt")


def test_another_format_another_tokenizer_or_other_weights_are_errors(saved, tmp_path, tokenizer):
    def copy(name):
        path = tmp_path / name
        path.write_bytes(saved.last.read_bytes())
        return path

    def shrink(checkpoint):
        state = checkpoint["state_dict"]
        for name in ("model.inputs.tokens.weight", "model.head.weight"):
            state[name] = state[name][:-3]

    def widen(checkpoint):
        checkpoint[CARD]["model"]["d_model"] = 16

    def foreign(checkpoint):
        checkpoint[CARD]["model"]["_target_"] = "os.system"

    def lost(checkpoint):
        del checkpoint["state_dict"]["model.norm.weight"]

    size = tokenizer.vocab_size
    with pytest.raises(UserError, match=rf"weights do not fit.*{size - 3}.*{size}"):
        load_trained(rewrite(copy("a.ckpt"), shrink))
    with pytest.raises(UserError, match="weights do not fit"):
        load_trained(rewrite(copy("b.ckpt"), widen))
    with pytest.raises(UserError, match=r"os\.system is no SequenceModel"):
        load_trained(rewrite(copy("c.ckpt"), foreign))
    with pytest.raises(UserError, match=r"weights do not fit.*norm\.weight"):
        load_trained(rewrite(copy("d.ckpt"), lost))
    with pytest.raises(UserError, match="format 99"):
        load_trained(rewrite(copy("e.ckpt"), lambda checkpoint: checkpoint[CARD].update(format=99)))


@pytest.mark.parametrize(
    "content",
    [{}, {"format": 2}, {"format": 2, "model": {}, "tokenizer": "{}"}, {"format": 2, "tokenizer": "no json"}, None, []],
)
def test_a_card_that_is_damaged_is_an_error(saved, content):
    with pytest.raises(UserError, match=r"last\.ckpt"):
        load_trained(rewrite(saved.last, lambda checkpoint: checkpoint.update({CARD: content})))


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_malicious_pickle_is_not_executed(tmp_path, write):
    write({CARD: Malice(tmp_path / "harm"), "state_dict": {}}, tmp_path / "evil.ckpt")
    for read in (load_trained, read_checkpoint, WholeFileCheckpointIO().load_checkpoint):
        with pytest.raises(UserError, match="damaged or no checkpoint"):
            read(tmp_path / "evil.ckpt")
    with pytest.raises(UserError):
        WholeFileCheckpointIO().load_checkpoint(tmp_path / "evil.ckpt", weights_only=False)
    assert not (tmp_path / "harm").exists()


def test_a_full_disk_keeps_the_old_file(saved, monkeypatch):
    before = saved.last.read_bytes()

    def full(value, path):
        path.write_bytes(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        saved.trainer.save_checkpoint(saved.last)
    assert saved.last.read_bytes() == before
    assert list(saved.last.parent.iterdir()) == [saved.last]
