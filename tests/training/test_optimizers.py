"""Groups of parameters; Muon against a decomposition and torch's own, and its AdamW against torch's, bit by bit."""

import copy

import pytest
import torch
from torch import nn

from midifactory.models.notes import PITCHES, NoteModel
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer
from midifactory.training.optimizers import Muon, orthogonalised, parameter_groups

MODELS = {
    "tied": lambda: Transformer(50, d_model=16, heads=2, layers=1),
    "untied": lambda: Transformer(50, d_model=16, heads=2, layers=1, tie_embeddings=False),
    "lstm": lambda: Recurrent(50, "lstm", d_model=16, layers=1),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_trained_parameter_is_in_one_group(model):
    model = model()
    next(model.parameters()).requires_grad_(False)
    grouped = [parameter for group in parameter_groups(model) for parameter in group["params"]]
    assert len(grouped) == len({id(parameter) for parameter in grouped})
    assert {id(parameter) for parameter in grouped} == {id(p) for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_vectors_and_tables_do_not_decay_and_hidden_matrices_are_muons(model):
    model = model()
    groups = parameter_groups(model)
    hidden = {id(p) for group in groups if group["hidden"] for p in group["params"]}
    resting = {id(p) for group in groups if group.get("weight_decay") == 0 for p in group["params"]}
    for name, parameter in model.named_parameters():
        layer = "layers." in name or "blocks." in name
        assert (id(parameter) in hidden) == (layer and parameter.dim() == 2), name
        assert (parameter.dim() == 1) <= (id(parameter) in resting), name
    tied = model.head.weight is model.inputs.tokens.weight
    assert (id(model.inputs.tokens.weight) in resting) == (not tied)
    assert id(model.head.weight) not in hidden | resting


def test_the_heads_of_note_features_are_no_hidden_matrices():
    model = NoteModel(Recurrent(PITCHES, "gru", d_model=16, layers=1), instruments=2, bins=8)
    (hidden,) = (group["params"] for group in parameter_groups(model) if group["hidden"])
    heads = {id(layer.weight) for layer in model.heads.values()}
    assert heads
    assert not heads & {id(parameter) for parameter in hidden}


@pytest.mark.parametrize("shape", [(24, 24), (16, 64), (64, 16), (1, 9), (5, 12, 30)])
def test_an_update_has_the_gradients_directions_and_equal_lengths(shape):
    """Against the singular value decomposition: the same vectors, values near one."""
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    update = orthogonalised(gradient)
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    inner = u.mT @ update @ v.mT  # diagonal where the vectors are the same
    values = inner.diagonal(dim1=-2, dim2=-1)
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert (inner - torch.diag_embed(values)).abs().max() < 1e-3


def test_a_zero_gradient_moves_nothing():
    assert not orthogonalised(torch.zeros(4, 6)).any()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch below 2.9 has no Muon")
@pytest.mark.parametrize("shape", [(32, 32), (16, 48), (48, 16)])
def test_steps_are_those_of_torchs_muon(shape):
    """Up to bfloat16, in which torch multiplies."""
    generator = torch.Generator().manual_seed(1)
    ours = nn.Parameter(torch.randn(shape, generator=generator))
    theirs = nn.Parameter(ours.detach().clone())
    settings = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9}
    mine = Muon([{"params": [ours], "hidden": True}], **settings)
    peer = torch.optim.Muon([theirs], **settings, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        before = ours.detach().clone()
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        mine.step()
        peer.step()
        moved = (ours - before).norm()
        assert (ours - theirs).norm() < 0.02 * moved
        theirs.data.copy_(ours)  # so that differences do not add up


def test_an_update_is_as_large_as_adamws():
    weight = nn.Parameter(torch.zeros(64, 96))
    optimizer = Muon([{"params": [weight], "hidden": True}], lr=1.0, weight_decay=0.0)
    weight.grad = torch.randn(64, 96, generator=torch.Generator().manual_seed(2))
    optimizer.step()
    assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.2, rel=0.3)


@pytest.mark.parametrize("fused", [False, True])
def test_all_but_hidden_weights_are_torchs_adamw_bit_by_bit(fused):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(7, 5), nn.LayerNorm(5), nn.Linear(5, 3))
    theirs = copy.deepcopy(ours)
    settings = {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.1, "fused": fused}

    def groups(model):
        vectors = [p for p in model.parameters() if p.dim() == 1]
        return [
            {"params": [p for p in model.parameters() if p.dim() == 2]},
            {"params": vectors, "weight_decay": 0.0},
        ]

    mine, peer = Muon(groups(ours), **settings), torch.optim.AdamW(groups(theirs), **settings)
    for step in range(5):
        for model, optimizer in ((ours, mine), (theirs, peer)):
            x = torch.randn(11, 7, generator=torch.Generator().manual_seed(step))
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("fused", [False, True])
def test_its_state_goes_on_bit_by_bit_and_holds_plain_values(fused, tmp_path):
    def start():
        torch.manual_seed(3)
        model = Transformer(20, d_model=8, heads=2, layers=1, dropout=0.0)
        return model, Muon(parameter_groups(model), lr=0.02, fused=fused)

    def train(model, optimizer, steps):
        for step in steps:
            ids = torch.randint(20, (2, 9), generator=torch.Generator().manual_seed(step))

            def closure(ids=ids):
                optimizer.zero_grad()
                loss = model(ids).logits.square().mean()
                loss.backward()
                return loss

            assert optimizer.step(closure) > 0

    straight, its = start()
    train(straight, its, range(6))
    first, one = start()
    train(first, one, range(3))
    torch.save({"model": first.state_dict(), "optimizer": one.state_dict()}, tmp_path / "state")
    saved = torch.load(tmp_path / "state", weights_only=True)
    second, other = start()
    second.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    train(second, other, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    "settings", [{"lr": -1}, {"weight_decay": -0.1}, {"momentum": 1.0}, {"betas": (0.9, 1.0)}, {"lr": "high"}]
)
def test_numbers_that_cannot_be(settings):
    with pytest.raises((ValueError, TypeError)):
        Muon([nn.Parameter(torch.zeros(2, 2))], **settings)
