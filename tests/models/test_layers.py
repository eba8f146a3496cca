"""Norms and feed-forwards in training, against torch's own and the plain formula."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from midifactory.models.layers import FeedForward, RMSNorm
from midifactory.models.lora import LowRank

EPS = 1e-6


def random_numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def assert_same_gradients(ours: torch.Tensor, expected: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    torch.testing.assert_close(ours, expected)
    above = random_numbers(*ours.shape, seed=9)
    pairs = (torch.autograd.grad(result, inputs, above) for result in (ours, expected))
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other)


def rms_norm(width: int) -> RMSNorm:
    norm = RMSNorm(width, eps=EPS).double()
    nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
    return norm


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
@pytest.mark.parametrize("shape", [(6,), (1, 6), (5, 1), (4, 3, 6), (2, 3, 2, 5), (0, 6)])
def test_rms_norm_is_torchs_and_so_are_its_gradients(shape, scale):
    norm, x = rms_norm(shape[-1]), (random_numbers(*shape, seed=0) * scale).requires_grad_()
    expected = F.rms_norm(x, [shape[-1]], norm.weight, EPS)
    assert_same_gradients(norm(x), expected, [x, norm.weight])
    assert norm(x).grad_fn.name() != expected.grad_fn.name()  # not torch's own


@pytest.mark.parametrize("shape", [(6,), (4, 3, 6)])
def test_gradients_of_rms_norm_are_differences(shape):
    norm, x = rms_norm(6), random_numbers(*shape, seed=0).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, _: norm(x), (x, norm.weight))


def test_rms_norm_takes_rows_that_do_not_lie_together_and_a_frozen_weight():
    norm, x = rms_norm(6), random_numbers(6, 4, 3, seed=0).requires_grad_()
    norm.requires_grad_(False)
    assert_same_gradients(norm(x.mT.transpose(0, 2)), F.rms_norm(x.mT.transpose(0, 2), [6], norm.weight, EPS), [x])


def test_rms_norm_of_zeros_has_finite_gradients():
    norm, x = rms_norm(6), torch.zeros(2, 6).double().requires_grad_()
    assert_same_gradients(norm(x), F.rms_norm(x, [6], norm.weight, EPS), [x, norm.weight])


def test_in_half_precision_rms_norm_is_torchs():
    norm, x = rms_norm(64).bfloat16(), random_numbers(50, 64, seed=0).bfloat16().requires_grad_()
    assert torch.equal(norm(x), F.rms_norm(x, [64], norm.weight, EPS))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(6,), (2, 5, 6), (0, 6)])
def test_swiglu_in_two_products_is_that_in_one(shape, bias):
    part, x = FeedForward(6, 8, "swiglu", bias).double(), random_numbers(*shape, seed=0).requires_grad_()
    gate, value = part.rise(x).chunk(2, -1)
    expected = part.residual(gate * torch.sigmoid(gate) * value)
    assert_same_gradients(part(x), expected, [x, *part.parameters()])


def test_swiglu_in_two_products_has_loras_part_in_both():
    part, x = FeedForward(6, 8, "swiglu", True).double(), random_numbers(2, 5, 6, seed=0)
    part.requires_grad_(False)
    adapter = LowRank(part.rise.weight, rank=2, alpha=4.0)
    nn.init.normal_(adapter.up)
    nn.utils.parametrize.register_parametrization(part.rise, "weight", adapter)
    gate, value = part.rise(x).chunk(2, -1)
    assert_same_gradients(part(x), part.residual(F.silu(gate) * value), [adapter.up, adapter.down])
