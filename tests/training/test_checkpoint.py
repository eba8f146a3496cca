"""A trained model comes out of its checkpoint as it was, and out of no other."""

import json

import pytest
import torch

from midifactory.errors import UserError
from midifactory.training.checkpoint import load_trained
from midifactory.training.checkpoint_folder import CARD_FORMAT, read_checkpoint, write_checkpoint
from midifactory.training.module import CARD


@pytest.fixture
def saved(new_run):
    return new_run(epochs=1).fit()


def rewrite(path, change, target=None):
    checkpoint = read_checkpoint(path)
    change(checkpoint)
    write_checkpoint(checkpoint, target or path)
    return target or path


@torch.no_grad()
def test_a_loaded_model_says_what_the_trained_one_said(saved, tokenizer):
    trained = load_trained(saved.last)
    ids = torch.randint(tokenizer.vocab_size, (2, 20))
    assert torch.equal(trained.model(ids).logits, saved.module.model.eval()(ids).logits)
    assert not trained.model.training
    assert trained.tokenizer.tokens == tokenizer.tokens
    assert trained.tokenizer.fingerprint == tokenizer.fingerprint
    assert (trained.window, trained.profile, trained.corpus) == (255, {"metre": "4/4"}, "hand")


def test_composing_needs_no_more_than_weights_and_card(saved):
    (saved.last / "training.pt").unlink()
    load_trained(saved.last)
    with pytest.raises(UserError, match=r"damaged: training\.pt"):
        read_checkpoint(saved.last)


def test_another_format_another_tokenizer_or_other_weights_are_errors(saved, tmp_path, tokenizer):
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
    for name, change, words in (
        ("a", shrink, rf"weights do not fit.*{size - 3}.*{size}"),
        ("b", widen, "weights do not fit"),
        ("c", foreign, r"os\.system is no SequenceModel"),
        ("d", lost, r"weights do not fit.*norm\.weight"),
        ("e", lambda checkpoint: checkpoint[CARD].update(format=99), f"format 99, this version reads {CARD_FORMAT}"),
    ):
        with pytest.raises(UserError, match=words):
            load_trained(rewrite(saved.last, change, tmp_path / f"{name}.ckpt"))


@pytest.mark.parametrize("content", [{}, {"model": {}, "tokenizer": "{}"}, {"tokenizer": "no json"}])
def test_a_card_that_is_damaged_is_an_error(saved, content):
    content = {"format": CARD_FORMAT} | content
    with pytest.raises(UserError, match=r"last\.ckpt.*card is damaged"):
        load_trained(rewrite(saved.last, lambda checkpoint: checkpoint.update({CARD: content})))


def test_the_card_says_how_the_model_came_about(saved):
    card = json.loads((saved.last / "card.json").read_text())
    assert card["step"] == len(saved.train)
    assert card["epoch"] == 0
    assert card["metrics"]["val/loss"] == pytest.approx(saved.trainer.callback_metrics["val/loss"].item())
    assert card["versions"]["torch"] == torch.__version__
