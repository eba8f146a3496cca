"""What a VAE promises beyond tests/models/test_models.py. Oracles: torch.distributions, loops, and an integral."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from midifactory.models.interface import Conditions
from midifactory.models.vae import VAE, kl_nats

VOCAB = 13
KINDS = ("transformer", "lstm", "gru")


def build(**changes) -> VAE:
    torch.manual_seed(0)
    keywords = {"d_model": 16, "heads": 2, "layers": 1, "latent_size": 5, "context": 32, "dropout": 0.0} | changes
    model = VAE(VOCAB, **keywords)
    for parameter in model.parameters():
        parameter.data.mul_(3.0)
    return model.eval()


@pytest.fixture
def ids():
    return torch.randint(1, VOCAB, (4, 9), generator=torch.Generator().manual_seed(1))


class Counter:
    """A PlaceReader: how many tokens a row has read, PAD aside."""

    sizes = (40,)

    def start(self):
        return [0]

    def read(self, ids, states):
        rows = []
        for row, state in zip(ids.tolist(), states, strict=True):
            rows.append([])
            for token in row:
                state[0] += token != 0
                rows[-1].append([state[0] if token else 0])
        return torch.tensor(rows)


@pytest.fixture(params=[(kind, places) for kind in KINDS for places in (None, Counter())])
def model(request):
    kind, places = request.param
    return build(encoder=kind, places=places)


def test_the_divergence_is_that_of_torch():
    mean, log_variance = torch.randn(7, 3), torch.randn(7, 3)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_nats(mean, log_variance), expected)


@torch.no_grad()
def test_padding_at_the_end_changes_no_posterior(model, ids):
    padded = torch.cat([ids, torch.zeros(4, 5, dtype=torch.int64)], 1)
    for ours, expected in zip(model.encode(padded), model.encode(ids), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_every_token_is_in_the_posterior_and_a_0_before_the_end_is_one(model, ids):
    mean, _ = model.encode(ids)
    for t in range(9):
        changed = ids.clone()
        changed[:, t] = 0 if t < 8 else ids[:, t] % (VOCAB - 1) + 1
        assert ((model.encode(changed)[0] - mean).abs().amax(1) > 1e-4).all()


@torch.no_grad()
def test_rows_of_a_batch_are_encoded_apart_and_a_row_of_padding_is_finite(model, ids):
    ids[1, 4:] = 0
    ids[2] = 0
    mean, log_variance = model.encode(ids)
    assert mean.isfinite().all()
    assert log_variance.isfinite().all()
    for row in range(4):
        torch.testing.assert_close(model.encode(ids[row : row + 1])[0][0], mean[row], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_with_a_latent_it_is_the_decoder_alone(ids):
    model, told = build(), Conditions(latent=torch.randn(4, 5))
    output = model(ids, conditions=told)
    assert torch.equal(output.logits, model.decoder(ids, conditions=told).logits)
    assert output.losses == {}
    assert not torch.allclose(output.logits, model(ids, conditions=Conditions(latent=torch.randn(4, 5))).logits)


@torch.no_grad()
@pytest.mark.parametrize("decoder", KINDS)
def test_without_a_latent_it_decodes_a_draw_of_the_posterior(ids, decoder):
    model = build(decoder=decoder).train()
    torch.manual_seed(5)
    output = model(ids)
    mean, log_variance = model.encode(ids)
    torch.manual_seed(5)
    latent = Normal(mean, (0.5 * log_variance).exp()).sample()
    torch.testing.assert_close(output.logits, model.decoder(ids, conditions=Conditions(latent=latent)).logits)
    torch.testing.assert_close(output.statistics["kl_nats"], kl_nats(mean, log_variance).sum(1))


@torch.no_grad()
def test_in_evaluation_the_draw_is_the_same_in_any_batch(ids):
    model = build()
    together = model(ids).logits
    assert torch.equal(model(ids).logits, together)
    for row in range(4):
        torch.testing.assert_close(model(ids[row : row + 1]).logits[0], together[row], rtol=1e-4, atol=1e-5)
    mean, _ = model.encode(ids)
    assert not torch.allclose(together, model(ids, conditions=Conditions(latent=mean)).logits)


def test_the_loss_is_weighted_annealed_and_counted_per_token(ids):
    ids[0, 6:] = 0
    model = build(kl_weight=0.5, anneal_steps=10)
    mean, log_variance = model.encode(ids)
    per_token = float(kl_nats(mean, log_variance).sum()) / (4 * 9 - 3)
    for step, share in ((0, 0.0), (4, 0.4), (10, 1.0), (99, 1.0)):
        model.anneal(step)
        assert model(ids).losses["kl"].item() == pytest.approx(0.5 * share * per_token, rel=1e-5)
    at_once = build(kl_weight=0.5)
    at_once.anneal(0)
    assert at_once(ids).losses["kl"].item() == pytest.approx(0.5 * per_token, rel=1e-5)


def test_free_bits_cost_nothing_and_pull_no_gradient(ids):
    model = build(free_bits=0.3)
    mean, log_variance = model.encode(ids)
    expected = 0.0
    for column in range(5):
        average = sum(kl_nats(mean[row, column], log_variance[row, column]).item() for row in range(4)) / 4
        expected += max(0.3, average)
    assert model(ids).losses["kl"].item() == pytest.approx(expected * 4 / 36, rel=1e-4)
    free = build(free_bits=100.0)
    free(ids).losses["kl"].backward()
    assert free.written.weight.grad.abs().max() == 0


def test_a_reconstruction_teaches_the_encoder(ids):
    model = build()
    model(ids).logits.logsumexp(-1).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.encoder.parameters())


def test_the_bound_is_above_the_nats_of_the_prior_predictive(ids):
    """With one number in the latent, a segment's likelihood is an integral that a grid gives exactly."""
    model = build(latent_size=1)
    grid = torch.linspace(-9, 9, 4001)
    with torch.no_grad():
        for row in ids:
            inputs, targets = row[None, :-1], row[1:]

            def nats(latents, inputs=inputs, targets=targets):
                logits = model(inputs.expand(len(latents), -1), conditions=Conditions(latent=latents[:, None])).logits
                return -logits.log_softmax(-1).gather(2, targets.expand(len(latents), -1)[..., None]).sum((1, 2))

            exact = -(Normal(0.0, 1.0).log_prob(grid) - nats(grid)).logsumexp(0) - math.log(grid[1] - grid[0])
            mean, log_variance = (part[0, 0] for part in model.encode(inputs))
            deviation = (0.5 * log_variance).exp()
            weights = Normal(mean, deviation).log_prob(mean + deviation * grid).exp() * deviation * (grid[1] - grid[0])
            bound = (weights * nats(mean + deviation * grid)).sum() + kl_nats(mean, log_variance)
            assert weights.sum().item() == pytest.approx(1, abs=1e-3)
            assert bound > exact
            drawn = model(inputs)
            assert drawn.statistics["kl_nats"].item() == pytest.approx(kl_nats(mean, log_variance).item(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_to_say_again_what_it_read(kind):
    """Sixteen segments of six independent tokens: no decoder could know them without the latent."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.cat([torch.ones(16, 1, dtype=torch.int64), torch.randint(2, VOCAB, (16, 6), generator=generator)], 1)
    torch.manual_seed(0)
    model = VAE(VOCAB, encoder=kind, decoder=kind, d_model=32, heads=2, latent_size=8, dropout=0.0, kl_weight=0.01)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    for step in range(250):
        model.anneal(step)
        output = model(ids)
        logits = output.logits[:, :-1].flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten()) + output.losses["kl"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        told = Conditions(latent=model.encode(ids)[0])
        said = ids[:, :1]
        for _ in range(6):
            said = torch.cat([said, model(said, conditions=told).logits[:, -1:].argmax(-1)], 1)
        assert (said == ids).float().mean() > 0.8  # by chance 0.23
        assert model(ids).statistics["kl_nats"].min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_in_half_precision_the_divergence_is_counted_in_single(ids, kind):
    model = build(encoder=kind, decoder=kind)
    expected = model(ids).statistics["kl_nats"]
    with torch.autocast("cpu", torch.bfloat16):
        output = model.train()(ids)
    assert output.statistics["kl_nats"].dtype == torch.float32
    torch.testing.assert_close(output.statistics["kl_nats"], expected, rtol=0.1, atol=0.1)
    (output.logits.float().square().mean() + output.losses["kl"]).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.encoder.parameters())


def test_the_decoders_own_options_come_before_those_that_it_shares():
    model = build(decoder_options={"heads": 4, "context": 16, "kv_heads": 1, "layers": 2})
    assert model.context == 16
    assert [block.attention.kv_heads for block in model.decoder.blocks] == [1, 1]
    assert model.decoder.heads == 4
    assert model.encoder.blocks[0].attention.heads == 2


def test_labels_go_to_the_decoder_beside_the_draw(ids):
    model = build(condition_sizes=(3,))
    with torch.no_grad():
        one, other = (model(ids, conditions=Conditions(torch.full((4, 1), value))).logits for value in (1, 2))
    assert not torch.allclose(one, other)


def test_what_cannot_be_is_an_error_with_its_value(ids):
    for keywords, said in (
        ({"encoder": "cnn"}, "encoder=cnn: unknown"),
        ({"decoder": "mlp"}, "decoder=mlp: unknown"),
        ({"latent_size": 0}, "latent_size=0: it must be at least 1"),
        ({"free_bits": -0.1}, "free_bits=-0.1"),
        ({"token_dropout": 1.0}, "token_dropout=1.0"),
        ({"d_model": 18, "heads": 4, "decoder": "gru"}, "d_model=18 does not divide into 4 heads"),
        ({"heads": 0}, "d_model=16 does not divide into 0 heads"),
    ):
        with pytest.raises(ValueError, match=said):
            build(**keywords)
    model = build()
    with pytest.raises(ValueError, match="without a latent"):
        model(ids, model.new_state(4, 9))
