"""LoRA: nothing at first, only adapters learn, and merged is the same as not merged."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from midifactory.models.lora import add_lora, merge_lora
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer

MODELS = {
    "tied": lambda: Transformer(30, d_model=16, heads=2, layers=2, dropout=0.0),
    "untied": lambda: Transformer(30, d_model=16, heads=2, layers=1, dropout=0.0, tie_embeddings=False),
    "attending": lambda: Recurrent(30, "gru", d_model=16, layers=1, dropout=0.0, attention_heads=2),
}


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def plain(request):
    torch.manual_seed(0)
    return request.param()


@pytest.fixture
def ids():
    return torch.randint(30, (2, 11), generator=torch.Generator().manual_seed(1))


def learn(model, ids, steps=8):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()


def test_at_first_nothing_changes(plain, ids):
    before = plain(ids).logits
    assert add_lora(plain, 4, 8.0) > 0
    assert torch.equal(plain(ids).logits, before)


def test_only_adapters_learn_and_all_of_them(plain, ids):
    before = copy.deepcopy(plain.state_dict())
    add_lora(plain, 4, 8.0)
    learn(plain, ids)
    after = plain.state_dict()
    adapters = {name for name in after if name.endswith((".down", ".up"))}
    assert {name for name, parameter in plain.named_parameters() if parameter.requires_grad} == adapters
    assert all(after[name].abs().sum() > 0 for name in adapters)
    for name, value in before.items():
        kept = name if name in after else name.replace(".weight", ".parametrizations.weight.original")
        assert torch.equal(after[kept], value), name


@torch.no_grad()
def test_a_layer_is_its_weight_and_the_product(ids):
    torch.manual_seed(2)
    model = Transformer(30, d_model=16, heads=2, layers=1)
    add_lora(model, 3, 6.0)
    layer = next(module for module in model.modules() if parametrize.is_parametrized(module))
    low = layer.parametrizations.weight[0]
    low.up.normal_()
    x = torch.randn(5, layer.in_features)
    base = layer.parametrizations.weight.original
    expected = x @ base.T + (x @ low.down.T) @ low.up.T * (6.0 / 3) + layer.bias
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_merged_says_the_same_with_the_parameters_of_a_plain_model(plain, ids):
    names = list(plain.state_dict())
    fresh = copy.deepcopy(plain)
    before = plain(ids).logits
    add_lora(plain, 4, 8.0)
    learn(plain, ids)
    plain.eval()
    adapted = plain(ids).logits
    assert not torch.allclose(adapted, before, atol=1e-3)
    merge_lora(plain)
    assert type(plain) is type(fresh)
    assert sorted(plain.state_dict()) == sorted(names)
    assert torch.allclose(plain(ids).logits, adapted, atol=1e-6)
    fresh.load_state_dict(plain.state_dict())
    assert torch.equal(fresh.eval()(ids).logits, plain(ids).logits)


def test_its_state_can_be_loaded_into_another_of_its_kind(plain, ids, tmp_path):
    other = copy.deepcopy(plain)
    add_lora(plain, 4, 8.0)
    learn(plain, ids)
    torch.save(plain.state_dict(), tmp_path / "state")
    add_lora(other, 4, 8.0)
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert torch.equal(other(ids).logits, plain(ids).logits)


def test_adapters_lie_on_the_device_of_their_weights():
    model = MODELS["tied"]().to("meta")
    add_lora(model, 2, 4.0)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_what_is_named_stays_trained(ids):
    model = Transformer(30, d_model=16, heads=2, layers=1)
    add_lora(model, 2, 4.0, whole=["inputs.tokens.weight"])
    assert model.inputs.tokens.weight.requires_grad
    assert not model.norm.weight.requires_grad


def test_nothing_to_adapt_is_an_error():
    with pytest.raises(ValueError, match="Recurrent has no linear layers"):
        add_lora(Recurrent(30, "lstm", d_model=16, layers=1), 4, 8.0)


@pytest.mark.parametrize(("rank", "alpha"), [(0, 8), (2.5, 8), ("low", 8), (4, 0), (4, -1), (4, "high")])
def test_numbers_that_cannot_be(rank, alpha):
    with pytest.raises(ValueError, match=r"(rank|alpha)=.*: give"):
        add_lora(MODELS["tied"](), rank, alpha)
