"""The transformer over frames: the properties of every sequence model, and its logits by interval against loops."""

import pytest
import torch

from midifactory.models import frames
from midifactory.models.frames import FrameTransformer
from midifactory.models.interface import Conditions
from midifactory.tokens.grid import VoiceGrid

GRID = VoiceGrid()
BOS = GRID.bos_id


def build(**changes) -> FrameTransformer:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "heads": 2, "layers": 2, "places": GRID.places()} | changes
    model = FrameTransformer(GRID.vocab_size, **sizes)
    for parameter in model.parameters():  # larger than at the start of training, so that nothing vanishes by rounding
        parameter.data.mul_(3.0)
    return model.eval()


def random_ids(rows: int, length: int, seed: int = 1) -> torch.Tensor:
    """Cells after BOS."""
    ids = torch.randint(3, GRID.vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))
    ids[:, 0] = BOS
    return ids


@torch.no_grad()
@pytest.mark.parametrize("begin", [0, 1])
def test_later_tokens_change_no_earlier_logit_and_all_later_ones(begin):
    model, ids = build(), random_ids(2, 26)[:, begin:]
    before = model(ids).logits
    assert before.shape == (2, 26 - begin, GRID.vocab_size)
    for t in range(1, ids.shape[1]):
        changed = ids.clone()
        changed[:, t] = torch.where(ids[:, t] == 20, 30, 20)
        after = model(changed).logits
        assert torch.equal(after[:, :t], before[:, :t])
        assert (after[:, t:] != before[:, t:]).any(-1).all()


@torch.no_grad()
@pytest.mark.parametrize("begin", [0, 1])
@pytest.mark.parametrize("chunks", [[1] * 24, [5] + [1] * 19, [4, 3, 1, 7, 2, 7], [24]])
def test_with_a_state_the_logits_are_those_without(monkeypatch, chunks, begin):
    monkeypatch.setattr(frames, "_FIRST_CAPACITY", 2)
    model, ids = build(), random_ids(3, 25)[:, begin : begin + 24]
    state, parts = model.new_state(3, 1), []
    for part in ids.split(chunks, dim=1):
        output = model(part, state)
        state = output.state
        parts.append(output.logits)
    torch.testing.assert_close(torch.cat(parts, 1), model(ids).logits, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_rows_do_not_know_of_each_other_nor_of_padding():
    model, ids = build(), random_ids(2, 21)
    mixed = torch.stack([ids[0, :20], ids[1, 1:]])  # one begins with BOS, the other in the middle of a piece
    padded = torch.cat([mixed, torch.zeros(2, 7, dtype=torch.int64)], 1)
    together = model(padded).logits[:, :20]
    for row in range(2):
        torch.testing.assert_close(model(mixed[row : row + 1]).logits[0], together[row], rtol=1e-4, atol=1e-4)
    state = model.new_state(2, 20)
    cached = torch.cat([model(part, state).logits for part in mixed.split([3, 16, 1], 1)], 1)
    torch.testing.assert_close(cached, together, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_logits_are_summed_over_the_intervals_from_each_pitch():
    """By loops, from the model's own last layers and the pitches as ids."""
    model, ids = build(), random_ids(1, 22)
    ids[0, 6] = 3  # a silence
    kept = []
    model.norm.register_forward_hook(lambda module, args, output: kept.append(output[0]))
    logits = model(ids).logits[0]
    hidden, pitches = kept[0], GRID.vocab_size - 4
    for position in range(22):
        expected = model.head(hidden[position])
        tables = model.intervals(hidden[position]).view(4, 2 * pitches - 1)
        voice = position % 4
        own = ids[0, position - 3] if position > 3 else 0
        heard = [ids[0, position - voice + 1 + v] if v < voice else 0 for v in range(3)]
        for table, origin in zip(tables, [own, *heard], strict=True):
            if origin >= 4:
                for pitch in range(4, GRID.vocab_size):
                    expected[pitch] += table[pitch - int(origin) + pitches - 1]
        torch.testing.assert_close(logits[position], expected, rtol=1e-4, atol=1e-4)


def test_training_reaches_every_weight_and_dropout_acts_in_training_only():
    model, ids = build(dropout=0.5), random_ids(2, 30)
    assert torch.equal(model(ids).logits, model(ids).logits)
    model.train()
    assert not torch.allclose(model(ids).logits, model(ids).logits)
    model(ids).logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    hidden = build(dropout=0.0, feature_dropout=0.5)
    assert not torch.allclose(hidden.train()(ids).logits, hidden.eval()(ids).logits)
    plain = build(dropout=0.0, feature_dropout=0.0)
    torch.testing.assert_close(plain.train()(ids).logits, plain.eval()(ids).logits)


@torch.no_grad()
def test_conditions_reach_every_position():
    model, ids = build(condition_sizes=(3,)), random_ids(2, 9)
    given = [model(ids, conditions=Conditions(torch.full((2, 1), label))).logits for label in (0, 2)]
    assert torch.equal(model(ids).logits, given[0])
    assert (given[0] != given[1]).any(-1).all()


def test_what_it_cannot_read_is_told():
    with pytest.raises(ValueError, match="set tokenizer=voice_grid"):
        FrameTransformer(50)
    with pytest.raises(ValueError, match="condition_mode=prefix"):
        build(condition_mode="prefix")
    with pytest.raises(ValueError, match="padding"):
        build().new_state(1, 4, torch.tensor([1]))
    with pytest.raises(ValueError, match=r"feature_dropout=1\.0: must be at least 0 and below 1"):
        build(feature_dropout=1.0)


@torch.no_grad()
@pytest.mark.parametrize("begin", [0, 1])
def test_more_tokens_than_the_context_are_an_error_in_tokens_with_a_state_too(monkeypatch, begin):
    monkeypatch.setattr(frames, "_FIRST_CAPACITY", 2)
    ids, model = random_ids(1, 40)[:, begin:], build(context=20)
    count = 21 - begin  # BOS, which is not counted, and 20 cells
    state = model.new_state(1, 40)
    parts = [model(token, state).logits for token in ids[:, :count].split(1, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(ids[:, :count]).logits, rtol=1e-4, atol=1e-4)
    for one_more, cache in ((ids[:, : count + 1], None), (ids[:, count : count + 1], state)):
        with pytest.raises(ValueError, match=r"21 tokens exceed the context of 20; .*model\.context=21 "):
            model(one_more, cache)
