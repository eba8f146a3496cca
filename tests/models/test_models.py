"""One list of models, one set of properties: a new model is one more row of MODELS.

Oracles: gradients and the uncached model.
"""

import math
from functools import partial

import pytest
import torch
from torch import nn

from midifactory.models.interface import Conditions, Output, SequenceModel, dropout
from midifactory.models.positions import POSITIONS
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer
from midifactory.models.vae import VAE

VOCAB, CONTEXT = 29, 24


class Told(VAE):
    """A VAE that is always told the same latent: the decoder as the engine sees it."""

    inputs = property(lambda self: self.decoder.inputs)
    head = property(lambda self: self.decoder.head)

    def forward(self, ids, state=None, conditions=None):
        latent = torch.linspace(-1, 1, self.latent_size).expand(len(ids), -1)
        return super().forward(ids, state, Conditions(latent=latent))


TRANSFORMER = partial(Transformer, d_model=16, heads=2, layers=2, context=CONTEXT)
MODELS = {
    "transformer": TRANSFORMER,
    **{positions: partial(TRANSFORMER, positions=positions) for positions in POSITIONS if positions != "rotary"},
    "near": partial(TRANSFORMER, positions="relative", max_distance=5),
    "llama": partial(TRANSFORMER, heads=4, kv_heads=2, norm="rms", feed_forward="swiglu", bias=False),
    "prefix": partial(TRANSFORMER, condition_sizes=(3, 4), condition_mode="prefix"),
    "checkpointing": partial(TRANSFORMER, activation_checkpointing=True),
    "experts": partial(TRANSFORMER, experts=4),
    "switch": partial(TRANSFORMER, experts=3, experts_per_token=1),
    "lstm": partial(Recurrent, cell="lstm", d_model=16, layers=2),
    "gru": partial(Recurrent, cell="gru", d_model=16, layers=2),
    "gru_wide": partial(Recurrent, cell="gru", d_model=16, hidden=24, layers=2),
    "lstm_attention": partial(Recurrent, cell="lstm", d_model=16, layers=2, attention_heads=2, attention_span=5),
    "vae": partial(Told, encoder="gru", decoder="gru", d_model=16, layers=2, latent_size=6),
    "vae_transformer": partial(Told, d_model=16, heads=2, layers=2, context=CONTEXT, latent_size=6),
}


def build(name: str, **changes) -> SequenceModel:
    torch.manual_seed(0)
    model = MODELS[name](vocab_size=VOCAB, **changes)
    for parameter in model.parameters():  # larger than at the start of training, so that nothing vanishes by rounding
        parameter.data.mul_(4.0)
    return model.eval()


def random_ids(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=list(MODELS))
def model(request) -> SequenceModel:
    return build(request.param)


@torch.no_grad()
def test_the_output_has_a_logit_for_every_token_of_every_position(model):
    output = model(random_ids(3, 7))
    assert isinstance(output, Output)
    assert output.logits.shape == (3, 7, VOCAB)
    assert output.losses == {}


@torch.no_grad()
def test_later_tokens_change_no_earlier_logit(model):
    ids = random_ids(2, 12)
    before = model(ids).logits
    for t in range(11):
        changed = ids.clone()
        changed[:, t + 1 :] = (ids[:, t + 1 :] + 1) % VOCAB
        after = model(changed).logits
        torch.testing.assert_close(after[:, : t + 1], before[:, : t + 1], rtol=0, atol=1e-5)
        assert not torch.allclose(after[:, t + 1], before[:, t + 1])


def test_no_gradient_comes_from_the_future(model):
    """The gradient of the logits at t with respect to the embedding of each later token is exactly zero."""
    kept = []

    def keep(module, args, output):
        output.retain_grad()
        kept.append(output)

    model.inputs.tokens.register_forward_hook(keep)
    for t in (0, 4, 8):
        kept.clear()
        logits = model(random_ids(2, 9)).logits
        logits[:, t].square().sum().backward()
        gradient = kept[0].grad.abs().sum(dim=(0, 2))
        assert (gradient[t + 1 :] == 0).all()
        assert (gradient[: t + 1] > 0).all()


@torch.no_grad()
@pytest.mark.parametrize("chunks", [[1] * 15, [5, 10], [6] + [1] * 9, [4, 3, 1, 7], [15]])
def test_with_a_state_the_logits_are_those_without(model, chunks):
    """Token by token, in chunks, and a prompt followed by single tokens."""
    ids = random_ids(3, 15)
    state, parts = model.new_state(3, 15), []
    for part in ids.split(chunks, dim=1):
        output = model(part, state)
        state = output.state
        parts.append(output.logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids).logits, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_in_half_precision_a_single_row_with_a_state_says_the_same(model):
    """A single row is multiplied by other functions than many are, and autocast does not know them all."""
    ids, parts = random_ids(1, 12), []
    with torch.autocast("cpu", torch.bfloat16):
        state, expected = model.new_state(1, 12), model(ids).logits.float()
        for part in ids.split([4] + [1] * 8, dim=1):
            parts.append(model(part, state).logits.float())
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=0, atol=0.2 * expected.std().item())


@torch.no_grad()
def test_padding_at_the_end_changes_no_real_logit(model):
    ids = random_ids(2, 8)
    padded = torch.cat([ids, torch.zeros(2, 6, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(model(padded).logits[:, :8], model(ids).logits, rtol=0, atol=1e-5)


@torch.no_grad()
def test_rows_of_a_batch_do_not_know_of_each_other(model):
    ids = random_ids(4, 10)
    together = model(ids).logits
    for row in range(4):
        torch.testing.assert_close(model(ids[row : row + 1]).logits[0], together[row], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_dropout_acts_in_training_only(model):
    ids = random_ids(2, 10)
    assert torch.equal(model(ids).logits, model(ids).logits)
    model.train()
    assert not torch.allclose(model(ids).logits, model(ids).logits)


@pytest.mark.parametrize("name", list(MODELS))
def test_every_weight_has_a_gradient(name):
    """With trainer=ddp processes wait for each other's gradient of each; an expert's without tokens is in test_moe."""
    model, ids = build(name).train(), random_ids(2, 10)
    labels = Conditions(torch.ones(2, 2, dtype=torch.int64)) if name == "prefix" else None
    output = (VAE if isinstance(model, VAE) else type(model)).forward(model, ids, conditions=labels)
    (output.logits.square().mean() + sum(output.losses.values())).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", list(MODELS))
def test_without_dropout_training_mode_changes_nothing(name):
    model, ids = build(name, dropout=0.0), random_ids(2, 10)
    torch.testing.assert_close(model.train()(ids).logits, model.eval()(ids).logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", list(MODELS))
def test_tied_weights_share_storage_and_are_counted_once(name):
    tied, apart = build(name), build(name, tie_embeddings=False)
    assert tied.head.weight.data_ptr() == tied.inputs.tokens.weight.data_ptr()
    assert apart.head.weight.data_ptr() != apart.inputs.tokens.weight.data_ptr()
    assert apart.parameters_count - tied.parameters_count == VOCAB * 16


def test_parameters_are_counted_as_by_hand():
    d = 16
    assert build("lstm").parameters_count == VOCAB * d + VOCAB + 2 * (4 * (2 * d * d + 2 * d) + 2 * d)
    assert build("gru").parameters_count == VOCAB * d + VOCAB + 2 * (3 * (2 * d * d + 2 * d) + 2 * d)


@pytest.mark.parametrize("name", list(MODELS))
def test_a_new_model_knows_nothing(name):
    """Before training its loss is that of a guess among all tokens."""
    torch.manual_seed(0)
    model, ids = MODELS[name](vocab_size=VOCAB).eval(), random_ids(8, CONTEXT)
    loss = nn.functional.cross_entropy(model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(VOCAB), abs=0.1)


# --- what only one kind of model promises ---


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_recurrent_model_refuses_padding_and_has_no_context(cell):
    model = build(cell)
    assert model.context is None
    with pytest.raises(ValueError, match="padding"):
        model.new_state(2, 8, torch.tensor([0, 3]))


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_its_share(p):
    torch.manual_seed(0)
    x = torch.ones(1000, 1001, requires_grad=True)
    y = dropout(x, p, training=True)
    dropped = y == 0
    assert dropped.float().mean().item() == pytest.approx(p, abs=0.005)
    assert y.mean().item() == pytest.approx(1.0, abs=0.01)
    kept = y[~dropped]
    assert (kept == kept[0]).all()
    y.sum().backward()
    assert (x.grad[dropped] == 0).all()
    assert torch.equal(x.grad[~dropped], kept)


def test_dropout_does_nothing_outside_training_or_without_a_share():
    x = torch.randn(5, 7)
    assert torch.equal(dropout(x, 0.5, training=False), x)
    assert torch.equal(dropout(x, 0.0, training=True), x)


def test_dropout_is_drawn_from_torchs_seed_and_knows_no_pattern():
    x = torch.ones(64, 4096)
    torch.manual_seed(5)
    first = dropout(x, 0.5, training=True)
    second = dropout(x, 0.5, training=True)
    torch.manual_seed(5)
    assert torch.equal(dropout(x, 0.5, training=True), first)
    assert ((first == 0) == (second == 0)).float().mean().item() == pytest.approx(0.5, abs=0.01)
    for column in range(8):  # eight elements share one draw
        share = (first[:, column::8] == 0).float().mean().item()
        assert share == pytest.approx(0.5, abs=0.02)
        neighbours = ((first[:, column:-8:8] == 0) == (first[:, column + 1 : -7 : 8] == 0)).float().mean().item()
        assert neighbours == pytest.approx(0.5, abs=0.02)
