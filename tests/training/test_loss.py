"""The loss against a loop over real tokens."""

import math

import pytest
import torch

from midifactory.data.batches import IGNORED
from midifactory.training.loss import sequence_loss


def naive(logits, labels):
    nats = []
    for row in range(labels.shape[0]):
        for t in range(labels.shape[1]):
            if labels[row, t] != IGNORED:
                scores = logits[row, t].double().tolist()
                nats.append(math.log(sum(map(math.exp, scores))) - scores[labels[row, t]])
    return nats


def test_mean_and_sum_are_over_real_tokens_only():
    logits = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(7, (3, 5), generator=torch.Generator().manual_seed(1))
    labels[0, 3:], labels[2, 1:] = IGNORED, IGNORED
    nats = naive(logits, labels)
    assert len(nats) == 9
    assert sequence_loss(logits, labels).item() == pytest.approx(sum(nats) / 9, rel=1e-5)
    assert sequence_loss(logits, labels, "sum").item() == pytest.approx(sum(nats), rel=1e-5)


def test_no_gradient_reaches_the_logits_at_padding():
    logits = torch.randn(2, 4, 7, requires_grad=True)
    labels = torch.tensor([[1, 2, 3, 4], [5, 6, IGNORED, IGNORED]])
    sequence_loss(logits, labels).backward()
    assert (logits.grad[1, 2:] == 0).all()
    assert (logits.grad[1, :2] != 0).all()


def test_half_precision_logits_are_summed_in_single_precision():
    logits = torch.randn(2, 300, 50).bfloat16()
    labels = torch.randint(50, (2, 300))
    assert sequence_loss(logits, labels).item() == pytest.approx(
        sequence_loss(logits.double(), labels).item(), rel=1e-5
    )
