"""Attention by blocks against attention with all weights at once, and their gradients."""

import math

import pytest
import torch

from midifactory.models import blockwise
from midifactory.models.blockwise import blockwise_attention
from midifactory.models.interface import keep_mask


def random_numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain_attention(query, key, value, table=None, kept=1.0):
    """With all T x T weights at once; `kept`: what dropout multiplies them by."""
    count, size = query.shape[2:]
    scores = query @ key.mT
    if table is not None:
        distances = (torch.arange(count)[:, None] - torch.arange(count)).clamp(min=0)
        vectors = table.flip(1)[:, distances]  # (H, T, T, K)
        scores = scores + torch.einsum("bhik,hijk->bhij", query, vectors)
    future = torch.ones(count, count, dtype=torch.bool).triu(1)
    return ((scores / math.sqrt(size)).masked_fill(future, -torch.inf).softmax(-1) * kept) @ value


def random_heads(count: int, table: bool) -> list[torch.Tensor]:
    shapes = [(2, 3, count, 4)] * 3 + [(3, count, 4)] * table
    return [random_numbers(*shape, seed=seed).double().requires_grad_() for seed, shape in enumerate(shapes)]


def assert_same_gradients(ours: torch.Tensor, expected: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    torch.testing.assert_close(ours, expected)
    above = random_numbers(*ours.shape, seed=9).double()
    for one, other in zip(
        torch.autograd.grad(ours, inputs, above), torch.autograd.grad(expected, inputs, above), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("table", [True, False], ids=["relative", "plain"])
@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 150])
def test_attention_by_blocks_is_attention_and_so_are_its_gradients(count, table):
    inputs = random_heads(count, table)
    assert_same_gradients(blockwise_attention(*inputs), plain_attention(*inputs), inputs)


@pytest.mark.parametrize("table", [True, False], ids=["relative", "plain"])
def test_all_rows_in_one_block_as_on_an_accelerator_are_the_same(monkeypatch, table):
    inputs = random_heads(70, table)
    monkeypatch.setattr(blockwise, "_blocks", lambda query: iter([(slice(0, 2), 0, 70)]))
    assert_same_gradients(blockwise_attention(*inputs), plain_attention(*inputs), inputs)


@pytest.mark.parametrize("table", [True, False], ids=["relative", "plain"])
def test_dropout_in_blocks_is_dropout_of_the_weights(monkeypatch, table):
    torch.manual_seed(0)
    count, drawn = 70, []

    def remembered(weights, share):
        drawn.append(keep_mask(weights, share))
        return drawn[-1]

    monkeypatch.setattr(blockwise, "keep_mask", remembered)
    inputs = random_heads(count, table)
    ours = blockwise_attention(*inputs, dropped_share=0.25)
    kept = torch.zeros(2, 3, count, count).double()
    for index, (mask, scale) in enumerate(drawn):
        first = index % 2 * 64
        kept[index // 2, :, first : first + mask.shape[1], : mask.shape[2]] = mask * scale
    expected = plain_attention(*inputs, *([None] * (not table)), kept=kept)
    assert_same_gradients(ours, expected, inputs)
    past = torch.ones(count, count, dtype=torch.bool).tril()
    assert (kept[:, :, past] == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
