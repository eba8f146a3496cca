"""A mixture of experts against a loop over tokens, its losses against their papers' formulas."""

import math

import pytest
import torch
from torch import nn

from midifactory.models.layers import FeedForward
from midifactory.models.moe import Experts, router_losses
from midifactory.models.transformer import Transformer

D = 8


def build(count: int, per_token: int, capacity_factor: float | None = None) -> Experts:
    torch.manual_seed(0)
    experts = Experts(lambda: FeedForward(D, 12, "gelu", True), D, count, per_token, capacity_factor)
    nn.init.normal_(experts.router.weight)
    return experts


def random_numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive(experts: Experts, x: torch.Tensor, capacity: float = math.inf) -> torch.Tensor:
    """One token after another; an expert takes `capacity` choices of a row."""
    y = torch.zeros_like(x)
    for row in range(len(x)):
        load = [0] * len(experts.experts)
        for t in range(x.shape[1]):
            chances = (experts.router.weight @ x[row, t]).softmax(0)
            best = chances.argsort(descending=True)[: experts.per_token].tolist()
            total = chances[best].sum() if experts.per_token > 1 else 1.0
            for expert in best:
                load[expert] += 1
                if load[expert] <= capacity:
                    y[row, t] += chances[expert] / total * experts.experts[expert](x[row, t])
    return y


@pytest.mark.parametrize(("count", "per_token"), [(1, 1), (4, 1), (4, 2), (3, 3)])
def test_every_token_passes_through_its_experts(count, per_token):
    experts, x = build(count, per_token), random_numbers(3, 11, D)
    for module in (experts.train(), experts.eval()):
        y, routing = module(x)
        torch.testing.assert_close(y, naive(experts, x), rtol=1e-4, atol=1e-6)
        assert routing.chosen.shape == (3, 11, per_token)
        assert torch.equal(routing.chosen, experts.router(x).argsort(-1, descending=True)[..., :per_token])


def test_one_expert_is_the_dense_feed_forward():
    experts, x = build(1, 1), random_numbers(2, 7, D)
    torch.testing.assert_close(experts(x)[0], experts.experts[0](x))


def test_gradients_are_those_of_the_loop_and_reach_the_router():
    for per_token in (1, 2):
        experts, x = build(4, per_token), random_numbers(2, 9, D).requires_grad_()
        inputs = [x, *experts.parameters()]
        above = random_numbers(2, 9, D, seed=2)
        ours = torch.autograd.grad(experts(x)[0], inputs, above)
        expected = torch.autograd.grad(naive(experts, x), inputs, above, materialize_grads=True)
        for one, other in zip(ours, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        assert ours[1].abs().sum() > 0


def test_an_expert_without_tokens_has_a_gradient_of_zero():
    experts, x = build(3, 1), random_numbers(1, 5, D).abs()
    experts.router.weight.data[0] = 10.0
    y, routing = experts(x)
    assert (routing.chosen == 0).all()
    y.sum().backward()
    assert all((parameter.grad == 0).all() for parameter in experts.experts[1].parameters())


@pytest.mark.parametrize("factor", [0.3, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("per_token", [1, 2])
def test_the_earliest_tokens_of_a_row_fill_an_experts_capacity(per_token, factor):
    experts, x = build(4, per_token, factor), random_numbers(3, 12, D)
    capacity = math.ceil(factor * 12 * per_token / 4)
    y, _ = experts.train()(x)
    torch.testing.assert_close(y, naive(experts, x, capacity), rtol=1e-4, atol=1e-6)
    passed_by = (y == 0).all(-1)
    assert passed_by.any() == (factor < 1 or (factor == 1.0 and per_token == 1))
    torch.testing.assert_close(experts.eval()(x)[0], naive(experts, x), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_with_a_capacity_later_tokens_still_change_nothing_earlier():
    experts, x = build(4, 2, 0.5).train(), random_numbers(2, 12, D)
    before = experts(x)[0]
    for t in range(11):
        changed = x.clone()
        changed[:, t + 1 :] = random_numbers(2, 11 - t, D, seed=t + 5)
        torch.testing.assert_close(experts(changed)[0][:, : t + 1], before[:, : t + 1])


def test_losses_are_those_of_switch_and_st_moe():
    experts, x = build(4, 2), random_numbers(3, 11, D)
    _, routing = experts(x)
    balance_loss, z_loss = router_losses(routing, torch.ones(3, 11, dtype=torch.bool))
    scores = x.flatten(0, 1) @ experts.router.weight.T
    chances = scores.exp() / scores.exp().sum(-1, keepdim=True)
    counts = [sum(row.count(expert) for row in routing.chosen.flatten(0, 1).tolist()) for expert in range(4)]
    shares = [count / (33 * 2) for count in counts]
    balance = 4 * sum(share * chances[:, expert].mean() for expert, share in enumerate(shares))
    torch.testing.assert_close(balance_loss, balance)
    torch.testing.assert_close(z_loss, (scores.exp().sum(-1).log() ** 2).mean())
    experts.router.weight.data.zero_()
    even, z_loss = router_losses(experts(x)[1], torch.ones(3, 11, dtype=torch.bool))
    assert even.item() == pytest.approx(1.0)  # the least it can be where all chances are even
    assert z_loss.item() == pytest.approx(math.log(4) ** 2)


def test_routers_are_in_single_precision_where_the_rest_is_in_half():
    experts, x = build(4, 2), random_numbers(3, 11, D)
    due = experts(x)[1]
    with torch.autocast("cpu", torch.bfloat16):
        y, routing = experts(x)
    assert torch.equal(routing.scores, due.scores)
    assert torch.equal(routing.chosen, due.chosen)
    assert not torch.equal(y.float(), experts(x)[0])


@pytest.mark.parametrize("mode", ["added", "prefix"])
def test_padding_counts_in_no_loss(mode):
    torch.manual_seed(0)
    sizes = {"d_model": 16, "heads": 2, "layers": 2, "dropout": 0.0, "experts": 4, "condition_sizes": (3,)}
    model = Transformer(20, **sizes, condition_mode=mode).train()
    ids = torch.randint(1, 20, (3, 9), generator=torch.Generator().manual_seed(1))
    padded = torch.cat([ids, torch.zeros(3, 14, dtype=torch.int64)], 1)
    for name, loss in model(ids).losses.items():
        torch.testing.assert_close(model(padded).losses[name], loss)


def test_the_transformer_hands_out_weighted_losses_in_training_and_always_who_was_chosen():
    settings = {"d_model": 16, "heads": 2, "layers": 2, "dropout": 0.0, "experts": 4, "experts_per_token": 2}
    torch.manual_seed(0)
    model = Transformer(20, **settings, balance_loss=0.5, router_z_loss=0.25).train()
    torch.manual_seed(0)
    same = Transformer(20, **settings, balance_loss=1.0, router_z_loss=1.0).train()
    ids = torch.randint(1, 20, (3, 9), generator=torch.Generator().manual_seed(1))
    routings = []
    for block in model.blocks:
        block.feed_forward.register_forward_hook(lambda module, inputs, output: routings.append(output[1]))
    losses, whole = model(ids).losses, same(ids).losses
    assert list(losses) == ["balance_loss", "router_z_loss"]
    real = torch.ones(3, 9, dtype=torch.bool)
    balance = sum(router_losses(routing, real)[0] for routing in routings[:2])
    torch.testing.assert_close(losses["balance_loss"], 0.5 * balance)
    torch.testing.assert_close(losses["router_z_loss"], 0.25 * whole["router_z_loss"])
    sum(losses.values()).backward()
    assert all(block.feed_forward.router.weight.grad.abs().sum() > 0 for block in model.blocks)
    output = model.eval()(ids)
    assert output.losses == {}
    experts = output.statistics["experts"]
    assert experts.shape == (2, 3, 9, 2)
    assert torch.equal(experts[1], routings[-1].chosen)
    assert set(experts.unique().tolist()) <= set(range(4))


def test_a_prefix_is_not_among_the_tokens_whose_experts_are_told():
    model = Transformer(20, d_model=16, heads=2, layers=1, experts=2, condition_sizes=(3,), condition_mode="prefix")
    assert model.eval()(torch.zeros(2, 5, dtype=torch.int64)).statistics["experts"].shape == (1, 2, 5, 2)


def test_parameters_are_counted_as_by_hand():
    d, ff = 16, 64
    model = Transformer(20, d_model=d, heads=2, layers=2, experts=3)
    dense = Transformer(20, d_model=d, heads=2, layers=2)
    expert = (d * ff + ff) + (ff * d + d)
    assert model.parameters_count - dense.parameters_count == 2 * (2 * expert + 3 * d)
