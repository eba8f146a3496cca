"""The loss against a loop over real tokens, and what training minimises against torch's own."""

import math

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from midifactory.data.batches import IGNORED
from midifactory.errors import UserError
from midifactory.paths import conf_dir
from midifactory.training.loss import TrainingLoss, sequence_loss, token_weights


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


def batch(rows=3, length=6, size=9):
    logits = torch.randn(rows, length, size, generator=torch.Generator().manual_seed(4)).requires_grad_()
    labels = torch.randint(size, (rows, length), generator=torch.Generator().manual_seed(5))
    labels[0, 4:], labels[2, 2:] = IGNORED, IGNORED
    return logits, labels


def test_without_settings_it_is_the_sequence_loss_bit_by_bit():
    logits, labels = batch()
    objective, nats = TrainingLoss()(logits, labels)
    assert torch.equal(objective, sequence_loss(logits, labels))
    assert torch.equal(objective, nats)
    assert not nats.requires_grad


def test_label_smoothing_is_torchs():
    logits, labels = batch()
    theirs = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=0.2
    )
    objective, nats = TrainingLoss(label_smoothing=0.2)(logits, labels)
    assert objective.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert nats.item() == pytest.approx(sequence_loss(logits, labels).item(), rel=1e-6)


def test_weights_are_torchs_class_weights():
    logits, labels = batch()
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 1.0, 0.25, 1.0, 1.0])
    theirs = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), weight=weights, ignore_index=IGNORED
    )
    objective, nats = TrainingLoss(weights)(logits, labels)
    assert objective.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert nats.item() == pytest.approx(sequence_loss(logits, labels).item(), rel=1e-6)


def test_z_loss_is_the_mean_squared_log_partition():
    logits, labels = batch()
    squares = [
        math.log(sum(map(math.exp, logits[row, t].tolist()))) ** 2
        for row in range(3)
        for t in range(6)
        if labels[row, t] != IGNORED
    ]
    objective, nats = TrainingLoss(z_loss=0.01)(logits, labels)
    assert (objective - nats).item() == pytest.approx(0.01 * sum(squares) / len(squares), rel=1e-4)


def test_settings_together_give_padding_no_gradient():
    logits, labels = batch()
    objective, _ = TrainingLoss(torch.rand(9) + 0.5, z_loss=0.1, label_smoothing=0.1)(logits, labels)
    objective.backward()
    assert (logits.grad[labels == IGNORED] == 0).all()
    assert (logits.grad[labels != IGNORED] != 0).all()


def test_a_type_has_its_weight_and_all_others_one(tokenizer):
    weights = token_weights({"Pitch": 2.5, "Bar": 0.5}, tokenizer)
    for token, type_, weight in zip(tokenizer.tokens, tokenizer.types, weights.tolist(), strict=True):
        assert weight == {"Pitch": 2.5, "Bar": 0.5}.get(type_, 1.0), token
    assert token_weights(None, tokenizer) is None
    assert token_weights({}, tokenizer) is None


def test_a_merged_token_has_the_mean_of_its_parts(store):
    small = instantiate(OmegaConf.load(conf_dir() / "tokenizer" / "remi_plus.yaml"), _convert_="all", vocab_size=900)
    merged = small.learn_bpe(store.ids(piece) for piece in store.pieces)
    weights = token_weights({"Pitch": 3.0, "Velocity": 2.0}, merged)
    assert weights.shape == (merged.vocab_size,)
    assert merged.vocab_size > merged.base_vocab_size
    for index in range(merged.base_vocab_size, merged.vocab_size):
        parts = [merged.types[base] for base in merged.to_base_ids([index])]
        mean = sum({"Pitch": 3.0, "Velocity": 2.0}.get(part, 1.0) for part in parts) / len(parts)
        assert weights[index].item() == pytest.approx(mean)


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        ({"Pich": 2}, "'Pich'.*Pitch.*Velocity"),
        ({"Pitch": 0}, "Pitch.*0.*above 0"),
        ({"Pitch": -1}, "-1"),
        ({"Pitch": "twice"}, "twice.*number"),
        ({"Pitch": None}, "None.*number"),
        ([2], r"=\[2\].*such as \{Pitch: 2\}"),
    ],
)
def test_weights_that_cannot_be(tokenizer, weights, parts):
    with pytest.raises(UserError, match=rf"loss\.type_weights.*{parts}"):
        token_weights(weights, tokenizer)


@pytest.mark.parametrize(
    "settings", [{"z_loss": -1}, {"z_loss": "small"}, {"label_smoothing": 1}, {"label_smoothing": -0.1}]
)
def test_numbers_that_cannot_be(settings):
    ((name, value),) = settings.items()
    with pytest.raises(UserError, match=rf"loss\.{name}={value}: give"):
        TrainingLoss(**settings)
