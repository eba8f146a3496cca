"""A VAE in the one trainer: its figures, its annealing, its repeatability, and its checkpoint."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from midifactory.evaluation.likelihood import evaluating, latent_nats, piece_nats
from midifactory.models.interface import Conditions
from midifactory.training.checkpoint import load_trained, make_card

VAE = {
    "_target_": "midifactory.models.vae.VAE",
    "d_model": 8,
    "heads": 2,
    "layers": 1,
    "latent_size": 4,
    "musical_embeddings": True,
    "token_dropout": 0.3,
}


class Weights(Callback):
    """The share of the divergence's weight in force at each step."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, module, *_):
        self.values.append(module.model._share)


def test_validation_says_the_bound_and_its_two_parts(new_run):
    """One segment at a time, without padding, the bound put together here."""
    run = new_run(model=VAE, epochs=1).fit()
    model = run.module.model.eval()
    nats = divergence = tokens = notes = 0.0
    segments = []
    with torch.no_grad():
        for ids, count, *_ in run.validation.dataset:
            row = torch.from_numpy(ids)[None]
            output = model(row[:, :-1])
            nats += torch.nn.functional.cross_entropy(output.logits[0], row[0, 1:], reduction="sum").item()
            divergence += output.statistics["kl_nats"].item()
            tokens, notes = tokens + len(ids) - 1, notes + count
            segments.append(ids)
    metrics = run.trainer.callback_metrics
    assert divergence > 0
    assert metrics["val/loss"].item() == pytest.approx(nats / tokens, rel=1e-4)
    assert metrics["val/kl_nats"].item() == pytest.approx(divergence / len(segments), rel=1e-4)
    assert metrics["val/nats_per_note"].item() == pytest.approx((nats + divergence) / notes, rel=1e-4)
    with evaluating(model):
        found = latent_nats(model, [("all", segments), ("one", segments[:1])])
    assert found[0][0].sum() == pytest.approx(nats, rel=1e-4)
    assert found[0][1] == pytest.approx(divergence, rel=1e-4)
    assert len(found[0][0]) == tokens
    assert piece_nats(model, segments[0], 255) < found[1][0].sum() + found[1][1]


def test_the_weight_of_the_divergence_rises_with_the_steps(new_run):
    weights = Weights()
    new_run(model=VAE | {"anneal_steps": 5}, epochs=3, callbacks=[weights], limit_val_batches=0).fit()
    assert weights.values[:7] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0]


def test_the_same_seed_gives_the_same_bits(new_run, same_weights):
    """The draws of the latent and the hidden tokens included, whatever was drawn from torch before."""
    first = new_run("first", model=VAE, epochs=2).fit()
    torch.rand(17)
    assert same_weights(first, new_run("second", model=VAE, epochs=2).fit())
    assert not same_weights(first, new_run("third", model=VAE | {"token_dropout": 0.0}, epochs=2).fit())


def test_a_checkpoint_brings_the_model_and_how_pieces_were_cut(new_run, tokenizer, store, tmp_path):
    run = new_run(model=VAE, epochs=1)
    segment = {"unit": "bars", "length": 2, "max_tokens": 256, "align_to_bars": True}
    run.module.card = make_card(VAE, tokenizer, 255, {"metre": "4/4"}, "hand", segment=segment)
    run.fit()
    trained = load_trained(run.last)
    assert trained.segment == segment
    ids = torch.from_numpy(store.ids("metres")[:60].astype("int64"))[None]
    told = Conditions(latent=torch.randn(1, 4))
    with torch.no_grad():
        for one, other in zip(trained.model.encode(ids), run.module.model.eval().encode(ids), strict=True):
            assert torch.equal(one, other)
        assert torch.equal(trained.model(ids, conditions=told).logits, run.module.model(ids, conditions=told).logits)
