"""Weights of 8 bits. Oracle: the model that they are a copy of."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from midifactory.models import native
from midifactory.models.attention import Attention
from midifactory.models.frames import FrameTransformer
from midifactory.models.interface import Conditions, SequenceModel
from midifactory.models.positions import POSITIONS
from midifactory.models.quantise import Int8Linear, quantise
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer
from midifactory.models.vae import VAE
from midifactory.tokens.grid import VoiceGrid

VOCAB = 29
GRID = VoiceGrid()
MODELS = {
    "transformer": lambda: Transformer(VOCAB, d_model=64, heads=4, layers=2, context=64, latent_size=3),
    "llama": lambda: Transformer(VOCAB, 64, 4, 2, kv_heads=2, norm="rms", feed_forward="swiglu", bias=False),
    "experts": lambda: Transformer(VOCAB, 64, 4, 2, experts=3),
    "gru": lambda: Recurrent(VOCAB, "gru", 64, attention_heads=2),
    "vae": lambda: VAE(VOCAB, d_model=64, latent_size=3),
    "frames": lambda: FrameTransformer(GRID.vocab_size, 64, places=GRID.places()),
}


def learnt(make) -> tuple[SequenceModel, torch.Tensor]:
    """A model after a few steps of training on a scale, and tokens of that kind."""
    torch.manual_seed(0)
    model = make()
    ids = 4 + (torch.arange(48) + torch.randint(20, (16, 1))) % 20
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(15):
        optimizer.zero_grad()
        nats(model.train(), ids).backward()
        optimizer.step()
    return model.eval(), ids


def nats(model: SequenceModel, ids: torch.Tensor) -> torch.Tensor:
    latent = torch.linspace(-1, 1, 3).expand(len(ids), -1)
    takes_latent = any(name.endswith("inputs.latent") for name, _ in model.named_modules())
    logits = model(ids, conditions=Conditions(latent=latent) if takes_latent else None).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.mark.parametrize("name", list(MODELS))
def test_nats_move_by_less_than_half_a_percent(name):
    model, ids = learnt(MODELS[name])
    before = [weights.clone() for weights in model.state_dict().values()]
    with torch.no_grad():
        exact, rounded = nats(model, ids).item(), nats(quantise(model), ids).item()
    assert 0.02 < exact < 3
    assert rounded == pytest.approx(exact, rel=0.005)
    assert rounded != exact
    assert all(torch.equal(*pair) for pair in zip(before, model.state_dict().values(), strict=True))


def rounded(x: torch.Tensor) -> torch.Tensor:
    """(..., K), each row to the nearest of 255 values of its own range."""
    step = x.abs().amax(-1, keepdim=True) / 127
    return torch.round(x / step) * step


@torch.inference_mode()
@pytest.mark.parametrize("has_native", [True, False])
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("name", ["transformer", "llama", "experts", "gru"])
def test_with_a_state_the_logits_are_those_without(monkeypatch, name, rows, has_native):
    """The native step keeps keys and values in 8 bits, too: there the whole row is read with rounded ones."""
    if not has_native:
        monkeypatch.setattr(native, "_library", lambda: None)
    torch.manual_seed(0)
    model, ids = quantise(MODELS[name]()), torch.randint(VOCAB, (rows, 30))
    state = model.new_state(rows, 30)
    eight = getattr(state, "eight", False)
    assert eight == (has_native and native._library() is not None and name in ("transformer", "llama"))
    prompt = 1 if eight else 5
    cached = torch.cat([model(part, state).logits for part in ids.split([prompt] + [1] * (30 - prompt), 1)], 1)
    exact = model(ids).logits
    if eight:
        project = Attention._project

        def with_rounded(self, *arguments):
            query, key, value = project(self, *arguments)
            return query, rounded(key), rounded(value)

        monkeypatch.setattr(Attention, "_project", with_rounded)
    expected = model(ids).logits
    torch.testing.assert_close(cached, expected, rtol=1e-3, atol=1e-4 * expected.std().item())
    assert eight == ((cached - exact).abs().max() > 1e-3 * exact.std())


@torch.inference_mode()
@pytest.mark.skipif(native._library() is None, reason="there is no C compiler")
@pytest.mark.parametrize("positions", POSITIONS)
def test_keys_and_values_of_8_bits_move_the_logits_little(monkeypatch, positions):
    """Whatever the positions; oracle: the same weights with keys and values as they are."""
    torch.manual_seed(0)
    model = quantise(Transformer(VOCAB, d_model=64, heads=4, layers=2, context=64, positions=positions))
    ids, found = torch.randint(3, VOCAB, (3, 40)), []
    for has_native in (True, False):
        if not has_native:
            monkeypatch.setattr(native, "_library", lambda: None)
        state = model.new_state(3, 40)
        assert state.eight == has_native
        found.append(torch.cat([model(token, state).logits for token in ids.split(1, 1)], 1))
    assert 0 < (found[0] - found[1]).abs().max() < 0.05 * found[1].std()


@torch.inference_mode()
@pytest.mark.skipif(native._library() is None, reason="there is no C compiler")
@pytest.mark.parametrize("padding", [None, torch.tensor([0, 2, 5])])
def test_a_prompt_is_kept_as_if_it_had_been_read_token_by_token(padding):
    """Of one layer: those above hear the prompt itself, not what is kept of it."""
    torch.manual_seed(0)
    model = quantise(Transformer(VOCAB, d_model=64, heads=4, layers=1, context=64))
    ids = torch.randint(3, VOCAB, (3, 20))
    state = model.new_state(3, 30, padding)
    model(ids, state)
    for row, skipped in enumerate([0, 0, 0] if padding is None else padding.tolist()):
        alone = model.new_state(1, 30)
        for token in ids[row, skipped:]:
            model(token[None, None], alone)
        count = 20 - skipped
        assert state.lengths[row] == alone.lengths[0] == count
        for one, other in zip(state.opened(0, count), alone.opened(0, count), strict=True):
            # What is nearly halfway may be rounded either way.
            torch.testing.assert_close(one[row], other[0], rtol=0, atol=1.1 * other.abs().max().item() / 127)
            assert (one[row] - other[0]).abs().mean() < 0.02 * other.abs().max() / 127


@torch.no_grad()
def test_a_weight_moves_by_at_most_half_a_step_of_its_own_output():
    torch.manual_seed(0)
    linear = nn.Linear(50, 7)
    linear.weight[2] *= 1000
    linear.weight[3] = 0
    quantised, x = Int8Linear(linear), torch.randn(4, 50)
    moved = (quantised.weight * quantised.scales[:, None] - linear.weight).abs()
    assert (moved <= linear.weight.abs().amax(1, keepdim=True) / 254 * 1.0001).all()
    expected = x @ (quantised.weight * quantised.scales[:, None]).T + linear.bias
    torch.testing.assert_close(quantised(x), expected, rtol=1e-4, atol=1e-4)


def test_its_linear_layers_take_a_quarter_of_the_memory():
    model = MODELS["llama"]()
    plain = sum(part.weight.nbytes for part in model.modules() if isinstance(part, nn.Linear))
    small = quantise(model)
    assert not any(isinstance(part, nn.Linear) for part in small.modules())
    parts = [part for part in small.modules() if isinstance(part, Int8Linear)]
    assert sum(part.weight.nbytes for part in parts) == plain / 4
    assert sum(part.scales.numel() for part in parts) == sum(part.out_features for part in parts)
