"""Attention by blocks against attention with all weights at once, and their gradients."""

import math
import weakref

import pytest
import torch

from midifactory.models import blockwise
from midifactory.models.blockwise import blockwise_attention
from midifactory.models.interface import keep_mask


def random_numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


H, K = 4, 6


def plain_attention(qkv, angles=None, table=None, kept=1.0):
    """With all T x T weights at once; `kept`: what dropout multiplies them by."""
    count, parts = qkv.shape[1:3]
    shared = (parts - H) // 2
    query, key, value = qkv.transpose(1, 2).split((H, shared, shared), 1)
    if angles is not None:
        query, key = (turned(x, angles) for x in (query, key))
    key, value = (x.repeat_interleave(H // shared, 1) for x in (key, value))  # (B, H, T, K)
    scores = query @ key.mT
    if table is not None:
        distances = (torch.arange(count)[:, None] - torch.arange(count)).clamp(min=0)
        vectors = table.flip(1)[:, distances]  # (H, T, T, K)
        scores = scores + torch.einsum("bhik,hijk->bhij", query, vectors)
    future = torch.ones(count, count, dtype=torch.bool).triu(1)
    mixed = ((scores / math.sqrt(K)).masked_fill(future, -torch.inf).softmax(-1) * kept) @ value
    return mixed.transpose(1, 2).flatten(2)


def turned(x, angles):
    """The pairs (x[i], x[i + K / 2]) as complex numbers times e^(i angle), angles (T, K / 2)."""
    pairs = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((pairs.real, pairs.imag), -1)


def options_of(kind: str, count: int) -> tuple[torch.Tensor, dict, dict]:
    """qkv, and the keywords of that kind for the attention by blocks and for the plain one."""
    shared = 2 if kind.endswith("grouped") else H
    qkv = random_numbers(2, count, H + 2 * shared, K, seed=0).double().requires_grad_()
    if kind.startswith("relative"):
        table = random_numbers(H, count, K, seed=1).double().requires_grad_()
        return qkv, {"table": table}, {"table": table}
    if kind.startswith("rotary"):
        angles = random_numbers(count, K // 2, seed=2).double()
        sines = torch.cat((-angles.sin(), angles.sin()), -1)
        rotation = torch.cat((angles.cos(), angles.cos()), -1)[None, :, None], sines[None, :, None]
        return qkv, {"rotation": rotation}, {"angles": angles}
    return qkv, {}, {}


KINDS = pytest.mark.parametrize("kind", ["plain", "rotary", "relative", "rotary, grouped", "relative, grouped"])


def assert_same_gradients(ours: torch.Tensor, expected: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    torch.testing.assert_close(ours, expected)
    above = random_numbers(*ours.shape, seed=9).double()
    for one, other in zip(
        torch.autograd.grad(ours, inputs, above), torch.autograd.grad(expected, inputs, above), strict=True
    ):
        torch.testing.assert_close(one, other)


@KINDS
@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 150])
def test_attention_by_blocks_is_attention_and_so_are_its_gradients(count, kind):
    qkv, ours, plain = options_of(kind, count)
    inputs = [qkv, *(x for x in ours.values() if isinstance(x, torch.Tensor))]
    assert_same_gradients(blockwise_attention(qkv, H, **ours), plain_attention(qkv, **plain), inputs)


@KINDS
def test_all_rows_in_one_block_as_on_an_accelerator_are_the_same(monkeypatch, kind):
    qkv, ours, plain = options_of(kind, 70)
    inputs = [qkv, *(x for x in ours.values() if isinstance(x, torch.Tensor))]
    monkeypatch.setattr(blockwise, "_sizes", lambda x, length: (2, 70))
    assert_same_gradients(blockwise_attention(qkv, H, **ours), plain_attention(qkv, **plain), inputs)


@pytest.mark.parametrize("device", ["cpu", "accelerator"])
def test_no_rows_are_no_rows(monkeypatch, device):
    sizes = blockwise._sizes
    if device == "accelerator":  # what `_sizes` says of any device but a CPU
        monkeypatch.setattr(blockwise, "_sizes", lambda x, length: sizes(x.to("meta"), length))
    qkv = torch.zeros(0, 5, 3 * H, K, requires_grad=True)
    mixed = blockwise_attention(qkv, H)
    assert mixed.shape == (0, 5, H * K)
    assert torch.autograd.grad(mixed.sum(), qkv)[0].shape == qkv.shape


@pytest.mark.parametrize("frozen", ["qkv", "table"])
def test_what_is_frozen_has_no_gradient_and_changes_no_other(frozen):
    qkv, ours, _ = options_of("relative, grouped", 70)
    table = ours["table"]
    gradients = torch.autograd.grad(blockwise_attention(qkv, H, table=table).square().sum(), (qkv, table))
    (qkv if frozen == "qkv" else table).requires_grad_(False)
    blockwise_attention(qkv, H, table=table).square().sum().backward()
    for tensor, expected in zip((qkv, table), gradients, strict=True):
        assert (tensor.grad is None) == (not tensor.requires_grad)
        assert tensor.grad is None or torch.equal(tensor.grad, expected)


@pytest.mark.parametrize("trained", [True, False])
def test_weights_are_kept_for_a_backward_pass_alone(monkeypatch, trained):
    qkv, ours, _ = options_of("relative", 200)
    weights_of, kept, alive = blockwise._weights, [], []

    def watched(*arguments):
        alive.append(sum(weights() is not None for weights in kept))
        weights = weights_of(*arguments)
        kept.append(weakref.ref(weights))
        return weights

    monkeypatch.setattr(blockwise, "_weights", watched)
    with torch.set_grad_enabled(trained):  # computed from what is trained, as by a model
        blockwise_attention(qkv * 1, H, table=ours["table"] * 1, dropped_share=0.1)
    assert alive == list(range(8)) if trained else max(alive) <= 1


def test_a_second_derivative_is_refused():
    qkv, _, _ = options_of("plain", 5)
    (gradient,) = torch.autograd.grad(blockwise_attention(qkv, H).square().sum(), qkv, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@KINDS
def test_dropout_in_blocks_is_dropout_of_the_weights(monkeypatch, kind):
    torch.manual_seed(0)
    count, drawn = 70, []

    def remembered(weights, share):
        drawn.append(keep_mask(weights, share))
        return drawn[-1]

    monkeypatch.setattr(blockwise, "keep_mask", remembered)
    qkv, options, plain = options_of(kind, count)
    inputs = [qkv, *(x for x in options.values() if isinstance(x, torch.Tensor))]
    ours = blockwise_attention(qkv, H, **options, dropped_share=0.25)
    kept = torch.zeros(2, H, count, count).double()
    for index, (mask, scale) in enumerate(drawn):
        first = index % 2 * 64
        kept[index // 2, :, first : first + mask.shape[1], : mask.shape[2]] = mask * scale
    assert_same_gradients(ours, plain_attention(qkv, **plain, kept=kept), inputs)
    past = torch.ones(count, count, dtype=torch.bool).tril()
    assert (kept[:, :, past] == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["autocast", "whole model"])
def test_half_precision_is_that_attention_rounded(kind, dtype):
    qkv, ours, plain = options_of(kind, 70)
    rounded = {name: tuple(x.to(dtype) for x in value) for name, value in ours.items() if name == "rotation"}
    rounded |= {name: value.to(dtype) for name, value in ours.items() if name == "table"}
    mixed = blockwise_attention(qkv.bfloat16(), H, **rounded)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.double(), plain_attention(qkv, **plain), rtol=0.05, atol=0.05)
    (gradient,) = torch.autograd.grad(mixed.float().square().sum(), qkv)
    (expected,) = torch.autograd.grad(plain_attention(qkv, **plain).square().sum(), qkv)
    assert torch.cosine_similarity(gradient.flatten(), expected.flatten(), 0) > 0.999
