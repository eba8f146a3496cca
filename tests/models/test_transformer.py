"""What the transformer alone promises, of every option.

Oracles: attention in loops, one number at a time; torch's own attention; formulas; the model without the option.
"""

import itertools
import math

import pytest
import torch
from torch import nn

from midifactory.models import attention
from midifactory.models.cache import KeyValueCache
from midifactory.models.interface import Conditions
from midifactory.models.positions import POSITIONS, alibi_slopes
from midifactory.models.transformer import Transformer

VOCAB, CONTEXT = 29, 24
LLAMA = {"norm": "rms", "feed_forward": "swiglu", "bias": False, "heads": 4, "kv_heads": 2}
OPTIONS = {
    **{positions: {"positions": positions} for positions in POSITIONS},
    "near": {"positions": "relative", "max_distance": 4},
    "grouped": {"positions": "relative", "heads": 4, "kv_heads": 2},
    "llama": LLAMA,
    "grouped_alibi": {**LLAMA, "positions": "alibi", "kv_heads": 1},
}


def build(**options) -> Transformer:
    """A model whose weights are large enough that nothing vanishes by rounding."""
    torch.manual_seed(0)
    model = Transformer(VOCAB, **{"d_model": 16, "heads": 2, "layers": 2, "context": CONTEXT, **options})
    for parameter in model.parameters():
        parameter.data.mul_(4.0)
    return model.eval()


def random_ids(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def random_numbers(*shape: int, seed: int = 2) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Countdown:
    """Places that depend on all that was read: the sum of the ids, and how many there were; PAD is 0."""

    sizes = (7, CONTEXT + 1)

    def start(self) -> list[int]:
        return [0, 0]

    def read(self, ids: torch.Tensor, states: list[list[int]]) -> torch.Tensor:
        found = torch.zeros(*ids.shape, 2, dtype=torch.int64)
        for row, state in enumerate(states):
            for t, token in enumerate(ids[row].tolist()):
                state[0], state[1] = (state[0] + token) % 7, state[1] + (token != 0)
                found[row, t] = torch.tensor(state)
        return found


# --- attention, number by number ---


def turned(vector: torch.Tensor, position: int, base: float = 10_000.0) -> torch.Tensor:
    """A head's vector as complex numbers, each turned by its angle."""
    half = len(vector) // 2
    pairs = torch.complex(vector[:half].double(), vector[half:].double())
    angles = torch.tensor([position * base ** (-2 * i / len(vector)) for i in range(half)], dtype=torch.float64)
    return pairs * torch.exp(1j * angles)


def naive_weights(model: Transformer, block: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x (T, D) -> attention weights (H, T, T), and the values (H, T, K) that they are given to."""
    count, width = x.shape
    heads, shared, kind = model.heads, model.kv_heads, model.positions.kind
    size = width // heads
    projected = block.attention.qkv(x)  # (T, (H + 2 G) K)
    weights, values = torch.zeros(heads, count, count), torch.zeros(heads, count, size)
    for head in range(heads):
        group = head * shared // heads
        query = projected[:, head * size : (head + 1) * size]
        key = projected[:, (heads + group) * size :][:, :size]
        values[head] = projected[:, (heads + shared + group) * size :][:, :size]
        for t in range(count):
            scores = []
            for s in range(t + 1):
                if kind == "rotary":
                    score = (turned(query[t], t) * turned(key[s], s).conj()).real.sum().item()
                else:
                    score = (query[t] @ key[s]).item()
                if kind == "relative":
                    distance = min(t - s, block.attention.distances.num_embeddings - 1)
                    vector = block.attention.distances.weight[distance, head * size : (head + 1) * size]
                    score += (query[t] @ vector).item()
                score /= math.sqrt(size)
                if kind == "alibi":
                    score -= (t - s) * 2 ** (-8 * (head + 1) / heads)
                scores.append(math.exp(score))
            weights[head, t, : t + 1] = torch.tensor(scores) / sum(scores)
    return weights, values


def naive_attention(model: Transformer, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    weights, values = naive_weights(model, block, x)
    return block.attention.residual((weights @ values).transpose(0, 1).flatten(1))


@torch.no_grad()
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_attention_is_that_of_the_papers(options):
    model, x = build(**options), random_numbers(2, 9, 16)
    span = model.positions.span(range(9), 9, x.device)
    for block in model.blocks:
        ours = block.attention(x, span)
        for row in range(2):
            torch.testing.assert_close(ours[row], naive_attention(model, block, x[row]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_without_positions_in_its_scores_attention_is_torchs():
    x = random_numbers(3, 9, 16)
    for positions in ("none", "learned", "sinusoidal"):
        model = build(positions=positions)
        ours = model.blocks[0].attention
        theirs = nn.MultiheadAttention(16, 2, batch_first=True)
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
        theirs.out_proj.weight.copy_(ours.residual.weight)
        theirs.out_proj.bias.copy_(ours.residual.bias)
        future = torch.ones(9, 9, dtype=torch.bool).triu(1)
        expected, _ = theirs(x, x, x, attn_mask=future, need_weights=False)
        span = model.positions.span(range(9), 9, x.device)
        torch.testing.assert_close(ours(x, span), expected, rtol=1e-4, atol=1e-5)


def test_slopes_of_alibi_are_those_of_its_authors():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(1).tolist() == [2.0**-8]
    expected = [*(2.0**-i for i in range(1, 9)), *(2.0 ** -(i + 0.5) for i in range(4))]
    assert alibi_slopes(12).tolist() == pytest.approx(expected)


# --- the whole model from formulas ---


def naive_norm(x: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    if isinstance(norm, nn.RMSNorm):
        return x / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight
    centred = x - x.mean(-1, keepdim=True)
    return centred / (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def naive_feed_forward(x: torch.Tensor, part: nn.Module) -> torch.Tensor:
    inner = part.rise(x)
    if not part.gated:
        return part.residual(inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2))))
    width = inner.shape[-1] // 2
    return part.residual(inner[:, :width] / (1 + (-inner[:, :width]).exp()) * inner[:, width:])


def naive_positions(model: Transformer, count: int) -> torch.Tensor:
    if model.positions.kind == "learned":
        return model.positions.table.weight[:count]
    waves = torch.zeros(count, 16)
    if model.positions.kind == "sinusoidal":
        for t, i in itertools.product(range(count), range(8)):
            angle = t / 10_000 ** (2 * i / 16)
            waves[t, 2 * i], waves[t, 2 * i + 1] = math.sin(angle) / 4, math.cos(angle) / 4  # 4 = sqrt(16)
    return waves


@torch.no_grad()
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_whole_transformer_is_pre_norm_blocks_around_that_attention(options):
    model, ids = build(**options), random_ids(1, 9)
    x = model.inputs.tokens.weight[ids[0]] + naive_positions(model, 9)
    for block in model.blocks:
        x = x + naive_attention(model, block, naive_norm(x, block.norm_attention))
        x = x + naive_feed_forward(naive_norm(x, block.norm_feed_forward), block.feed_forward)
    expected = naive_norm(x, model.norm) @ model.inputs.tokens.weight.T
    torch.testing.assert_close(model(ids).logits[0], expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("positions", POSITIONS)
def test_grouped_heads_are_full_ones_with_repeated_keys_and_values(positions):
    grouped = build(positions=positions, heads=4, kv_heads=2)
    full = build(positions=positions, heads=4)
    weights = grouped.state_dict()
    for name in list(weights):
        if ".qkv." in name:
            query, key, value = weights[name].split((16, 8, 8))
            repeated = [part.unflatten(0, (2, 4)).repeat_interleave(2, 0).flatten(0, 1) for part in (key, value)]
            weights[name] = torch.cat((query, *repeated))
    full.load_state_dict(weights)
    ids = random_ids(2, 12)
    torch.testing.assert_close(grouped(ids).logits, full(ids).logits, rtol=1e-4, atol=1e-4)


def test_parameters_are_counted_as_by_hand():
    d, ff, layers = 16, 64, 2

    def count(**options) -> int:
        return build(**options).parameters_count

    block = (d * 3 * d + 3 * d) + (d * d + d) + (d * ff + ff) + (ff * d + d) + 4 * d
    rotary = VOCAB * d + layers * block + 2 * d
    assert count() == count(positions="none") == count(positions="alibi") == count(positions="sinusoidal") == rotary
    assert count(positions="learned") == rotary + CONTEXT * d
    assert count(positions="relative") == rotary + layers * CONTEXT * d  # distances 0 to 23
    assert count(positions="relative", max_distance=4) == rotary + layers * 5 * d
    gated = 48  # two thirds of 64 rounded up to a multiple of 8
    llama = d * (4 + 2 * 2) * 4 + d * d + d * 2 * gated + gated * d + 2 * d
    assert count(**LLAMA) == VOCAB * d + layers * llama + d
    assert count(**LLAMA, tie_embeddings=False) == 2 * VOCAB * d + layers * llama + d


# --- dropout of the weights ---


@pytest.mark.parametrize("positions", POSITIONS)
def test_attention_dropout_drops_weights_and_keeps_the_mean(positions):
    model = build(positions=positions, dropout=0.0, attention_dropout=0.3, layers=1)
    attention, x = model.blocks[0].attention, random_numbers(1, 12, 16)
    span = model.positions.span(range(12), 12, x.device)
    plain = attention(x, span)
    assert torch.equal(plain, attention(x, span))
    attention.train()
    torch.manual_seed(4)
    with torch.no_grad():
        drawn = torch.stack([attention(x, span) for _ in range(500)])
    assert not torch.allclose(drawn[0], plain, atol=1e-3)
    torch.testing.assert_close(drawn.mean(0), plain, rtol=0, atol=6 * drawn.std(0).max().item() / 500**0.5)


# --- the cache ---


@torch.no_grad()
@pytest.mark.parametrize("extras", ["plain", "places and prefix"])
@pytest.mark.parametrize("chunks", [[12], [7, 5], [3, 4, *[1] * 5], [1] * 12], ids=["one", "two", "few", "single"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_rows_padded_at_the_start_are_as_the_rows_alone(options, chunks, extras):
    conditions, alone = None, [None] * 3
    if extras != "plain":
        options = {**options, "places": Countdown(), "condition_sizes": (3, 4), "condition_mode": "prefix"}
        labels = torch.tensor([[1, 3], [0, 2], [2, 0]])
        conditions, alone = Conditions(labels), [Conditions(row[None]) for row in labels]
    model, lengths = build(**options), [12, 9, 6]
    rows = [random_ids(length, seed=length).clamp(min=1) for length in lengths]
    padding = torch.tensor([12 - length for length in lengths])
    ids = torch.stack([torch.cat([torch.zeros(12 - len(row), dtype=torch.int64), row]) for row in rows])
    state, parts = model.new_state(3, 12, padding), []
    for part in ids.split(chunks, dim=1):
        parts.append(model(part, state, conditions).logits)
    logits = torch.cat(parts, dim=1)
    assert logits.isfinite().all()
    for index, row in enumerate(rows):
        expected = model(row[None], conditions=alone[index]).logits[0]
        torch.testing.assert_close(logits[index, padding[index] :], expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("positions", POSITIONS)
def test_conditions_as_a_prefix_are_seen_by_every_token_and_cost_no_context(positions):
    model = build(positions=positions, condition_sizes=(3, 4), condition_mode="prefix")
    ids = random_ids(1, CONTEXT)
    logits = model(ids, conditions=Conditions(torch.tensor([[1, 2]]))).logits
    assert logits.shape == (1, CONTEXT, VOCAB)
    changed = model(ids, conditions=Conditions(torch.tensor([[1, 3]]))).logits
    assert ((logits - changed).abs().amax(-1) > 1e-6).all()
    nothing = model(ids, conditions=Conditions(torch.tensor([[0, 0]]))).logits
    assert torch.equal(model(ids).logits, nothing)
    state = model.new_state(1, CONTEXT)
    assert state.capacity == CONTEXT
    for part in ids.split([1, 5, *[1] * (CONTEXT - 6)], dim=1):
        last = model(part, state, Conditions(torch.tensor([[1, 2]]))).logits
    torch.testing.assert_close(last[:, -1], logits[:, -1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_more_tokens_than_the_context_or_the_cache_are_an_error_with_both_numbers():
    model = build()
    with pytest.raises(ValueError, match=r"25 tokens exceed the context of 24; .*model\.context=25"):
        model(random_ids(1, 25))
    with pytest.raises(ValueError, match="25 tokens exceed the context of 24"):
        model.new_state(1, 25)
    state = model.new_state(1, 5)
    model(random_ids(1, 5), state)
    for count in (1, 2):
        with pytest.raises(ValueError, match=f"{5 + count} tokens exceed the cache of 5"):
            model(random_ids(1, count), state)
    assert isinstance(state, KeyValueCache)
    assert state.lengths == [5]


# --- attention maps ---


@torch.no_grad()
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_maps_are_the_weights_that_attention_uses(options):
    model, ids = build(**options, attention_dropout=0.5), random_ids(2, 9)
    inputs = []
    for block in model.blocks:
        block.attention.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    maps = model.train().attention_maps(ids)
    assert model.training
    assert [tuple(weights.shape) for weights in maps] == [(2, model.heads, 9, 9)] * 2
    for block, weights, x in zip(model.blocks, maps, inputs, strict=True):
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, model.heads, 9))
        assert (weights.triu(1) == 0).all()
        for row in range(2):
            torch.testing.assert_close(weights[row], naive_weights(model, block, x[row])[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_maps_leave_a_prefix_out():
    model, ids = build(condition_sizes=(3,), condition_mode="prefix"), random_ids(2, 9)
    for weights in model.attention_maps(ids, Conditions(torch.tensor([[1], [2]]))):
        assert weights.shape == (2, 2, 9, 9)
        sums = weights.sum(-1)
        assert (sums < 1).all()
        assert (sums > 0).all()


# --- training ---


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("positions", ["rotary", "relative", "none"])
def test_attention_in_training_is_that_with_a_mask_and_so_are_its_gradients(monkeypatch, positions, kv_heads):
    """Of the whole module, over more than one block of queries; the explicit span leads past blockwise.py."""
    model = build(positions=positions, heads=4, kv_heads=kv_heads, context=80, layers=1).double().train()
    ours, calls = model.blocks[0].attention, []
    by_blocks = attention.blockwise_attention
    monkeypatch.setattr(attention, "blockwise_attention", lambda *a: calls.append(1) or by_blocks(*a))
    x, above = random_numbers(2, 70, 16).double().requires_grad_(), random_numbers(2, 70, 16, seed=3).double()
    found = []
    for explicit in (False, True):
        mixed = ours(x, model.positions.span(range(70), 70, x.device, explicit=explicit))
        found.append([mixed, *torch.autograd.grad(mixed, [x, *ours.parameters()], above)])
        assert len(calls) == 1
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_model_that_is_wholly_in_half_precision_trains(options):
    model, ids = build(**options, dropout=0.0).train(), random_ids(2, 10)
    expected = model(ids).logits
    halved = model.bfloat16()(ids).logits
    torch.testing.assert_close(halved.float(), expected, rtol=0.2, atol=0.3 * expected.std().item())
    halved.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(
    "options", [*OPTIONS.values(), {"experts": 3, "capacity_factor": 1.0}], ids=[*OPTIONS, "experts"]
)
def test_activation_checkpointing_changes_no_gradient(options):
    gradients = []
    for checkpointing in (False, True):
        model = build(**options, dropout=0.3, attention_dropout=0.2, activation_checkpointing=checkpointing).train()
        torch.manual_seed(7)
        output = model(random_ids(2, 10))
        (output.logits.square().mean() + sum(output.losses.values())).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_with_checkpointing_a_block_is_computed_twice_in_training_alone():
    model, calls = build(activation_checkpointing=True), []
    model.blocks[1].attention.register_forward_hook(lambda *_: calls.append(1))
    model(random_ids(2, 10)).logits.sum().backward()
    assert len(calls) == 1
    model.train()(random_ids(2, 10)).logits.sum().backward()
    assert len(calls) == 3


def dropped(model: Transformer) -> dict[str, bool]:
    """Where two passes in training differ: what enters the blocks, attention's output, what a block adds."""
    seen: dict[str, list[torch.Tensor]] = {"embedding": [], "attention": [], "residual": []}
    block = model.blocks[0]
    block.norm_attention.register_forward_pre_hook(lambda _, inputs: seen["embedding"].append(inputs[0]))
    block.attention.register_forward_hook(lambda _, inputs, output: seen["attention"].append(output))
    block.register_forward_hook(lambda _, inputs, output: seen["residual"].append(output[0]))
    model.train()
    for seed in (1, 2):
        torch.manual_seed(seed)
        model(random_ids(2, 10))
    return {name: not torch.equal(*values) for name, values in seen.items()}


def test_each_dropout_drops_in_its_place():
    one = {"dropout": 0.0, "layers": 1}
    assert dropped(build(**one)) == {"embedding": False, "attention": False, "residual": False}
    assert dropped(build(**one, residual_dropout=0.5)) == {"embedding": False, "attention": False, "residual": True}
    assert dropped(build(**one, attention_dropout=0.5)) == {"embedding": False, "attention": True, "residual": True}
    assert dropped(build(**one, embedding_dropout=0.5))["embedding"]
    assert dropped(build(layers=1, dropout=0.5, residual_dropout=0.0))["embedding"]
    assert not dropped(build(layers=1, dropout=0.5, embedding_dropout=0.0))["embedding"]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_half_precision_trains(options):
    model, ids = build(**options, dropout=0.0, attention_dropout=0.1), random_ids(2, 10)
    expected = model(ids).logits
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(ids).logits.float(), expected, rtol=0.2, atol=0.2 * expected.std().item())
        loss = model.train()(ids).logits.float().square().mean()
    loss.backward()
    used = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.isfinite().all()}
    assert used == {name for name, _ in model.named_parameters()}


def test_initialisations():
    torch.manual_seed(0)
    plain = Transformer(VOCAB, d_model=128, layers=2, initialisation="gpt2").blocks[0]
    assert plain.attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert plain.feed_forward.residual.weight.std().item() == pytest.approx(0.02 / 2, rel=0.05)
    uniform = Transformer(VOCAB, d_model=128, layers=2, initialisation="xavier")
    bound = math.sqrt(6 / (128 + 3 * 128))
    weight = uniform.blocks[0].attention.qkv.weight
    assert weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    ids = random_ids(8, 50)
    loss = nn.functional.cross_entropy(uniform.eval()(ids).logits.flatten(0, 1), ids.roll(-1, 1).flatten())
    assert loss.item() == pytest.approx(math.log(VOCAB), abs=0.1)


# --- mistakes ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_model": 18, "heads": 4}, "d_model=18 does not divide into 4 heads of an even size; set model.d_model"),
        ({"d_model": 12, "heads": 4}, "d_model=12 does not divide into 4 heads of an even size; .* 2 x model.heads"),
        ({"d_model": 10, "heads": 10}, "d_model=10 does not divide into 10 heads of an even size"),
        ({"d_model": 10, "heads": 4, "positions": "alibi"}, "d_model=10 does not divide into 4 heads; set model"),
        ({"heads": 0}, "d_model=16 does not divide into 0 heads"),
        ({"heads": 4, "kv_heads": 8}, "kv_heads=8 does not divide heads=4; set model.kv_heads to one of 1, 2, 4"),
        ({"heads": 4, "kv_heads": 3}, "kv_heads=3 does not divide heads=4"),
        ({"heads": 4, "kv_heads": 0}, "kv_heads=0 does not divide heads=4"),
        ({"positions": "rope"}, "positions=rope: unknown; choose one of rotary, relative, alibi"),
        ({"norm": "batch"}, "norm=batch: unknown; choose one of layer, rms"),
        ({"feed_forward": "relu"}, "feed_forward=relu: unknown; choose one of gelu, swiglu"),
        ({"initialisation": "he"}, "initialisation=he: unknown; choose one of gpt2, xavier"),
        ({"dropout": 1.0}, "^dropout=1.0: must be at least 0 and below 1"),
        ({"embedding_dropout": 1.0}, "embedding_dropout=1.0: must be at least 0 and below 1"),
        ({"attention_dropout": -0.1}, "attention_dropout=-0.1: must be at least 0 and below 1"),
        ({"positions": "relative", "max_distance": 0}, "max_distance=0: must be at least 1"),
        ({"rotary_base": 0.0}, "rotary_base=0.0: must be at least 1"),
        ({"d_ff": 0}, "d_ff=0: must be at least 1"),
        ({"layers": 0}, "layers=0: must be at least 1"),
        ({"d_model": 0}, "d_model=0: must be at least 1"),
        ({"experts": -1}, "experts=-1: must be at least 1, or 0"),
        ({"experts": 2, "experts_per_token": 3}, "experts_per_token=3: must be between 1 and model.experts=2"),
        ({"experts": 2, "capacity_factor": 0.0}, "capacity_factor=0.0: must be above 0, or null"),
        ({"condition_mode": "sung"}, "condition_mode=sung: choose added or prefix"),
    ],
)
def test_options_that_make_no_model_are_an_error_with_the_remedy(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_heads_of_an_odd_size_need_no_pairs_without_rotation():
    assert build(d_model=12, heads=4, positions="relative")(random_ids(1, 5)).logits.shape == (1, 5, VOCAB)
