"""Rows that join and leave a state: each row's logits are those of the row read alone.

Oracle: the model without a state, over the whole row. The programmes are drawn at random.
"""

import random
from collections.abc import Callable
from functools import partial

import pytest
import torch

from midifactory.models import frames
from midifactory.models.ensemble import Ensemble
from midifactory.models.frames import FrameTransformer
from midifactory.models.interface import Conditions, SequenceModel, State
from midifactory.models.positions import POSITIONS
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer
from midifactory.models.vae import VAE
from midifactory.tokens.grid import VoiceGrid

VOCAB, CONTEXT = 29, 24


class Sums:
    """Places that depend on all that was read."""

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


TRANSFORMER = partial(Transformer, VOCAB, d_model=16, heads=2, layers=2, context=CONTEXT)
LABELS = {"condition_sizes": (3, 4), "latent_size": 3}
RECURRENT = partial(Recurrent, VOCAB, d_model=16, layers=2)
ATTENTION = {"attention_heads": 2, "attention_span": 5}
GRID = VoiceGrid()
MODELS: dict[str, Callable[[], SequenceModel]] = {
    **{positions: partial(TRANSFORMER, positions=positions) for positions in POSITIONS},
    **{f"prefix_{p}": partial(TRANSFORMER, positions=p, **LABELS, condition_mode="prefix") for p in POSITIONS},
    "near": partial(TRANSFORMER, positions="relative", max_distance=5, heads=4, kv_heads=2),
    "llama": partial(TRANSFORMER, heads=4, kv_heads=2, norm="rms", feed_forward="swiglu", bias=False),
    "conditions": partial(TRANSFORMER, **LABELS, places=Sums()),
    "experts": partial(TRANSFORMER, experts=4),
    "lstm": partial(RECURRENT, cell="lstm"),
    "gru": partial(RECURRENT, cell="gru", hidden=24, places=Sums(), **LABELS),
    "lstm_attention": partial(RECURRENT, cell="lstm", **ATTENTION),
    "gru_attention": partial(RECURRENT, cell="gru", **ATTENTION, **LABELS, condition_mode="prefix"),
    "vae": partial(VAE, VOCAB, encoder="gru", decoder="gru", d_model=16, latent_size=3),
    "vae_transformer": partial(VAE, VOCAB, d_model=16, heads=2, context=CONTEXT, latent_size=3),
    "ensemble": partial(
        Ensemble, VOCAB, "midifactory.models.transformer.Transformer", 2, d_model=16, layers=1, context=CONTEXT
    ),
    "ensemble_recurrent": partial(
        Ensemble, VOCAB, "midifactory.models.recurrent.Recurrent", 2, d_model=16, **ATTENTION
    ),
    "frames": partial(FrameTransformer, GRID.vocab_size, d_model=16, heads=2, context=CONTEXT, places=GRID.places()),
}


def build(name: str) -> SequenceModel:
    torch.manual_seed(0)
    model = MODELS[name]()
    for parameter in model.parameters():  # larger than at the start of training, so that nothing vanishes by rounding
        parameter.data.mul_(4.0)
    return model.eval()


class Row:
    """Tokens, conditions, what the model says of them without a state, and how many tokens were read."""

    def __init__(self, name: str, model: SequenceModel, seed: int):
        generator = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(3, model.vocab_size, (CONTEXT,), generator=generator)
        if name == "frames" and seed % 3:
            self.ids[0] = GRID.bos_id
        told = "prefix" in name or name in ("conditions", "gru", "gru_attention")
        labels = torch.tensor([seed % 3, seed % 4]) if told else None
        latent = torch.randn(3, generator=generator) if told or name.startswith("vae") else None
        self.conditions, self.read = (labels, latent), 0
        self.expected = model(self.ids[None], conditions=conditions_of([self])).logits[0]

    def fork(self) -> "Row":
        twin = object.__new__(Row)
        twin.__dict__.update(self.__dict__)
        return twin


def conditions_of(rows: list[Row]) -> Conditions:
    parts = zip(*(row.conditions for row in rows), strict=True)
    return Conditions(*(None if part[0] is None else torch.stack(part) for part in parts))


def read(model: SequenceModel, rows: list[Row], state, count: int) -> None:
    """Let every row read its next tokens, and look at what is said of them."""
    ids = torch.stack([row.ids[row.read : row.read + count] for row in rows])
    output = model(ids, state, conditions_of(rows))
    assert output.state is state
    for row, logits in zip(rows, output.logits, strict=True):
        torch.testing.assert_close(logits, row.expected[row.read : row.read + count], rtol=1e-3, atol=1e-3)
        row.read += count


@torch.inference_mode()
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", list(MODELS))
def test_a_row_that_joins_and_leaves_says_what_it_says_alone(monkeypatch, name, seed):
    """Each row reads up to the capacity, however long the others are that it stands beside."""
    monkeypatch.setattr(frames, "_FIRST_CAPACITY", 2)
    model, chance, made, finished = build(name), random.Random(seed), 0, 0

    def joining(number: int) -> tuple[list[Row], State]:
        rows = [Row(name, model, 100 * seed + made + index) for index in range(number)]
        state = model.new_state(number, CONTEXT)
        read(model, rows, state, chance.randint(1, 9))
        return rows, state

    rows, state = joining(2)
    while finished < 6:
        made += 2
        event = chance.random()
        if event < 0.2 and len(rows) < 5:
            more, other = joining(chance.randint(1, 2))
            state.join(other)
            rows += more
        elif event < 0.3:
            kept = [chance.randrange(len(rows)) for _ in range(chance.randint(1, 4))]  # some twice, in any order
            state.select(torch.tensor(kept))
            rows = [rows[index].fork() for index in kept]
        else:
            room = min(CONTEXT - row.read for row in rows)
            read(model, rows, state, chance.choice([1, 1, 1, 2, 3]) if room >= 3 else 1)
        left = [index for index, row in enumerate(rows) if row.read < CONTEXT]
        finished += len(rows) - len(left)
        if left != list(range(len(rows))):
            if not left:
                rows, state = joining(1)
                continue
            state.select(left)
            rows = [rows[index] for index in left]


@torch.inference_mode()
@pytest.mark.parametrize("name", list(POSITIONS))
def test_padded_rows_join_others(name):
    model = build(name)
    one, two, three = (Row(name, model, seed) for seed in range(3))
    state, other = model.new_state(2, CONTEXT, torch.tensor([0, 3])), model.new_state(1, CONTEXT)
    padded = torch.cat([torch.zeros(3, dtype=torch.int64), two.ids[:4]])
    logits = model(torch.stack([one.ids[:7], padded]), state).logits
    torch.testing.assert_close(logits[1, 3:], two.expected[:4], rtol=1e-3, atol=1e-3)
    one.read, two.read = 7, 4
    read(model, [three], other, 12)
    state.join(other)
    while three.read < CONTEXT:
        read(model, [one, two, three], state, 1)
    state.select([1])
    while two.read < CONTEXT:
        read(model, [two], state, 1)


@torch.inference_mode()
def test_rows_of_one_length_need_no_mask_and_take_the_room_of_those_that_left():
    model = TRANSFORMER().eval()
    rows = [Row("rotary", model, seed) for seed in range(4)]
    state, other = model.new_state(3, CONTEXT), model.new_state(1, CONTEXT)
    read(model, rows[:3], state, 5)
    read(model, rows[3:], other, 8)
    buffer = state.layers[0][0].data_ptr()
    state.select([0, 2])
    state.join(other)
    assert state.layers[0][0].data_ptr() == buffer
    assert not isinstance(state.place(1, 0), range)
    state.select([2])
    assert state.place(1, 0) == range(8, 9)
    read(model, rows[3:], state, 1)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["lstm", "prefix_rotary", "frames"])
def test_rows_that_have_read_nothing_cannot_join(name):
    model = build(name)
    state = model.new_state(1, CONTEXT)
    read(model, [Row(name, model, 1)], state, 2)
    with pytest.raises(ValueError, match="read nothing cannot join"):
        state.join(model.new_state(1, CONTEXT))
