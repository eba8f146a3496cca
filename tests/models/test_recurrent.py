"""What LSTM and GRU alone promise. Oracles: torch's own stacks, attention in loops, and the layers' inputs."""

import math

import pytest
import torch
from torch import nn

from midifactory.models.interface import Conditions
from midifactory.models.recurrent import PastAttention, Recurrent

VOCAB = 29
WIDE = {"d_model": 16, "layers": 2}
CELLS = ["lstm", "gru"]


def build(**changes) -> Recurrent:
    torch.manual_seed(0)
    model = Recurrent(VOCAB, **WIDE | changes)
    for parameter in model.parameters():  # larger than at the start of training, so that nothing vanishes by rounding
        parameter.data.mul_(4.0)
    return model.eval()


def random_ids(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def in_chunks(model: Recurrent, ids: torch.Tensor, chunks: list[int], conditions=None):
    """Logits and the last state."""
    state, parts = model.new_state(len(ids), ids.shape[1]), []
    for part in ids.split(chunks, dim=1):
        output = model(part, state, conditions)
        state = output.state
        parts.append(output.logits)
    return torch.cat(parts, 1), state


@torch.no_grad()
@pytest.mark.parametrize("hidden", [None, 24])
@pytest.mark.parametrize("cell", CELLS)
def test_the_model_is_torchs_layers_with_a_norm_after_each(cell, hidden):
    model, ids = build(cell=cell, hidden=hidden), random_ids(3, 11)
    width = hidden or 16
    x = nn.functional.embedding(ids, model.inputs.tokens.weight) * 4.0  # the square root of 16
    for layer, norm in zip(model.layers, model.norms, strict=True):
        ours = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](x.shape[2], width, batch_first=True)
        ours.load_state_dict(layer.state_dict())
        y, _ = ours(x)
        centred = y - y.mean(-1, keepdim=True)
        x = centred / (y.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias
    if hidden:
        x = x @ model.projection.weight.T + model.projection.bias
    expected = x @ model.inputs.tokens.weight.T + model.head.bias
    torch.testing.assert_close(model(ids).logits, expected, rtol=1e-4, atol=1e-5)


def test_parameters_with_another_hidden_size_are_counted_as_by_hand():
    first, second = 4 * (16 * 24 + 24 * 24 + 2 * 24), 4 * (2 * 24 * 24 + 2 * 24)
    heads = (24 * 72 + 72) + (24 * 24 + 24)
    projection = 24 * 16 + 16
    norms = 2 * 2 * 24
    assert build(hidden=24).parameters_count == VOCAB * 16 + VOCAB + first + second + norms + projection
    assert build(hidden=24, attention_heads=2).parameters_count == build(hidden=24).parameters_count + heads


# --- dropout ---


class Inputs:
    """What each layer and the output read in the last call."""

    def __init__(self, model: Recurrent):
        self.seen: dict[object, torch.Tensor] = {}
        parts = {0: model.layers[0], 1: model.layers[1], "output": model.projection}
        for name, part in parts.items():
            part.register_forward_pre_hook(lambda _, args, name=name: self.seen.__setitem__(name, args[0].detach()))


@pytest.mark.parametrize("cell", CELLS)
def test_variational_dropout_drops_the_same_at_all_positions_of_a_row(cell):
    model, ids = build(cell=cell, hidden=64, d_model=64, dropout=0.25).train(), random_ids(40, 9)
    inputs = Inputs(model)
    model(ids)
    first = dict(inputs.seen)
    model(ids)
    for name, x in first.items():
        dropped = x == 0  # (B, T, D)
        assert torch.equal(dropped.all(1), dropped.any(1))
        mask = dropped[:, 0]
        assert mask.float().mean().item() == pytest.approx(0.25, abs=0.03)
        assert not (mask == mask[0]).all()
        assert not torch.equal(mask, (inputs.seen[name] == 0)[:, 0])


def test_layer_dropout_is_drawn_at_every_position_between_the_layers_alone():
    model, ids = build(hidden=64, d_model=64, dropout=0.0, layer_dropout=0.25).train(), random_ids(20, 30)
    inputs = Inputs(model)
    model(ids)
    dropped = inputs.seen[1] == 0
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert (dropped.any(1) & ~dropped.all(1)).float().mean() > 0.99
    assert not (inputs.seen[0] == 0).any()
    assert not (inputs.seen["output"] == 0).any()


@pytest.mark.parametrize("kind", ["dropout", "layer_dropout"])
def test_dropout_keeps_the_size_of_what_is_read(kind):
    model, ids = build(hidden=64, d_model=64, **{"dropout": 0.0, kind: 0.5}), random_ids(300, 6)
    inputs = Inputs(model)
    sums = []
    for training in (False, True):
        model.train(training)(ids)
        sums.append(inputs.seen[1].abs().mean().item())
    assert sums[1] == pytest.approx(sums[0], rel=0.1)


# --- attention over the past ---


def naive_attention(attention: PastAttention, x: torch.Tensor) -> torch.Tensor:
    """x (T, R) -> (T, R), one head, query and key at a time."""
    count, width = x.shape
    size = width // attention.heads
    query, key, value = (attention.query_key_value(x)[:, i * width : (i + 1) * width] for i in range(3))
    result = torch.zeros(count, width)
    for head in range(attention.heads):
        part = slice(head * size, (head + 1) * size)
        for t in range(count):
            seen = range(max(0, t - attention.span), t + 1)
            scores = torch.stack([query[t, part] @ key[s, part] for s in seen]) / math.sqrt(size)
            for s, weight in zip(seen, scores.softmax(0), strict=True):
                result[t, part] += weight * value[s, part]
    return x + attention.residual(result)


@torch.no_grad()
@pytest.mark.parametrize("span", [1, 3, 4, 100])
def test_attention_over_the_past_is_that_of_loops(span):
    torch.manual_seed(0)
    attention = PastAttention(12, heads=3, span=span)
    x = torch.randn(2, 14, 12)
    ours, (keys, values, _) = attention(x, None)
    for row in range(2):
        torch.testing.assert_close(ours[row], naive_attention(attention, x[row]), rtol=1e-4, atol=1e-5)
    assert keys.shape == values.shape == (2, 3, min(14, span), 4)


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("span", [1, 4, 100])
@pytest.mark.parametrize("chunks", [[1] * 20, [7, 13], [3, 3, 1, 1, 12], [20]])
def test_cached_attention_is_the_uncached_beyond_its_span_too(cell, span, chunks):
    model, ids = build(cell=cell, hidden=24, attention_heads=2, attention_span=span), random_ids(3, 20)
    logits, state = in_chunks(model, ids, chunks)
    torch.testing.assert_close(logits, model(ids).logits, rtol=1e-4, atol=1e-5)
    assert state.memory[0].shape == (3, 2, min(20, span), 12)


@torch.no_grad()
def test_attention_hears_what_the_hidden_state_forgot():
    """With recurrent weights of 0 a GRU's state is a mean of the last tokens; only attention reaches further back."""
    ids, changed = random_ids(1, 40), random_ids(1, 40)
    changed[0, 5] = (ids[0, 5] + 1) % VOCAB
    for heads in (0, 2):
        model = build(cell="gru", layers=1, attention_heads=heads, attention_span=64)
        layer = model.layers[0]
        layer.weight_hh_l0.zero_()
        layer.weight_ih_l0[16:32] = 0.0
        layer.bias_ih_l0[16:32] = -30.0  # the update gate: take all of the new
        heard = not torch.allclose(model(changed).logits[0, -1], model(ids).logits[0, -1], rtol=0, atol=1e-6)
        assert heard == (heads > 0)


# --- conditions ---


@torch.no_grad()
@pytest.mark.parametrize("heads", [0, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_prefix_embeddings_are_read_before_the_first_token(cell, heads):
    model = build(cell=cell, condition_sizes=(3, 5), condition_mode="prefix", attention_heads=heads)
    ids, labels = random_ids(3, 8), torch.tensor([[0, 4], [2, 1], [1, 0]])
    tables = model.inputs.condition_tables
    prefix = torch.stack([tables[index](labels[:, index]) for index in range(2)], 1)
    x, _ = model.trunk(torch.cat((prefix, model.inputs.tokens(ids)), 1) * 4.0)
    expected = model.head(x)[:, 2:]
    conditions = Conditions(labels)
    assert model(ids, conditions=conditions).logits.shape == (3, 8, VOCAB)
    torch.testing.assert_close(model(ids, conditions=conditions).logits, expected, rtol=1e-4, atol=1e-5)
    for chunks in ([1] * 8, [3, 5], [8]):
        torch.testing.assert_close(in_chunks(model, ids, chunks, conditions)[0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["added", "prefix"])
def test_labels_and_a_latent_are_heard_cached_and_uncached(mode):
    model = build(condition_sizes=(3, 5), condition_mode=mode, latent_size=6, attention_heads=2, attention_span=4)
    ids = random_ids(2, 9)
    torch.manual_seed(1)
    asked = Conditions(torch.tensor([[1, 2], [2, 3]]), torch.randn(2, 6))
    whole = model(ids, conditions=asked).logits
    torch.testing.assert_close(in_chunks(model, ids, [2, 1, 6], asked)[0], whole, rtol=1e-4, atol=1e-5)
    for other in (Conditions(asked.labels), Conditions(latent=asked.latent), None):
        assert not torch.allclose(model(ids, conditions=other).logits, whole, atol=1e-3)


# --- the state ---


@torch.no_grad()
def test_without_a_state_none_comes_back_and_nothing_is_remembered():
    model, ids = build(attention_heads=2), random_ids(2, 6)
    assert model(ids).state is None
    torch.testing.assert_close(model(ids).logits, model(ids).logits, rtol=0, atol=0)


@torch.no_grad()
def test_a_state_does_not_grow_with_the_piece():
    model = build(attention_heads=2, attention_span=6)
    sizes = []
    for length in (10, 200):
        state = in_chunks(model, random_ids(2, length), [9, *[1] * (length - 9)])[1]
        numbers = [*state.memory[:2], *(tensor for pair in state.hidden for tensor in pair)]
        sizes.append(sum(tensor.untyped_storage().nbytes() for tensor in numbers))
    assert sizes[0] == sizes[1]


# --- mistakes ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": "rnn"}, "cell=rnn: choose one of lstm, gru"),
        ({"layers": 0}, "layers=0: must be at least 1"),
        ({"hidden": 0}, "hidden=0: must be at least 1"),
        ({"dropout": 1.0}, "dropout=1.0: must be at least 0 and below 1"),
        ({"layer_dropout": -0.1}, "layer_dropout=-0.1: must be at least 0 and below 1"),
        ({"attention_heads": 3}, "attention_heads=3: 16 hidden units do not divide"),
        ({"hidden": 24, "attention_heads": 5}, "attention_heads=5: 24 hidden units do not divide"),
        ({"attention_heads": -1}, "attention_heads=-1"),
        ({"attention_span": 0}, "attention_span=0: must be at least 1"),
        ({"condition_mode": "beside"}, "condition_mode=beside: choose added or prefix"),
    ],
)
def test_mistakes_are_told_with_value_and_limit(changes, message):
    with pytest.raises(ValueError, match=message):
        Recurrent(VOCAB, **WIDE | changes)
