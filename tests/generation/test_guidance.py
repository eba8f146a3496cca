"""Guided decoding against two separate uncached readings, with labels and without, that are combined by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from midifactory.generation.engine import Engine, Free, Row
from midifactory.generation.sampling import Sampling, Settings, sample
from midifactory.models.interface import Conditions, Output, SequenceModel, State
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer

VOCABULARY, WINDOW, ANCHOR = 17, 24, 5
GREEDY, LIVELY = Sampling(top_k=1), Sampling(1.3, 0, 0.98)
SIZES, LATENT = (3, 4), 2
LABELS = [[1, 3], [2, 0], [0, 1], [0, 0]]
MODELS = [f"{name} {mode}" for name in ("transformer", "alibi", "gru") for mode in ("added", "prefix")]


def build(name: str) -> SequenceModel:
    """A random model on whose logits labels and a latent weigh as much as tokens."""
    kind, mode = name.split()
    torch.manual_seed(3)
    told = {"condition_sizes": SIZES, "condition_mode": mode, "latent_size": LATENT, "tie_embeddings": False}
    model: SequenceModel
    if kind == "gru":
        model = Recurrent(VOCABULARY, cell="gru", d_model=16, layers=2, **told)
    else:
        positions = "rotary" if kind == "transformer" else kind
        model = Transformer(VOCABULARY, 16, heads=2, layers=2, context=WINDOW, positions=positions, **told)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2 if kind == "gru" else 8)
    return model.eval()


def conditions(rows: int, latent: bool = False) -> Conditions:
    """LABELS in turn, and a latent of its own for each row."""
    labels = torch.tensor([LABELS[row % len(LABELS)] for row in range(rows)])
    return Conditions(labels, torch.linspace(-1, 1, rows * LATENT).view(rows, LATENT) if latent else None)


def rows_of(prompt: list[int], steps: int, seed: int, told: Conditions, guidance: float) -> list[Row]:
    """A row for each row of the conditions."""
    assert told.labels is not None
    latents = [None] * len(told.labels) if told.latent is None else told.latent
    return [
        Row(prompt, Free(steps), LIVELY, (seed, row), labels, latent, guidance)
        for row, (labels, latent) in enumerate(zip(told.labels, latents, strict=True))
    ]


@torch.inference_mode()
def by_hand(
    model: SequenceModel, prompt: list[int], steps: int, sampling: Sampling, seed: int, row: int, told: Conditions,
    guidance: float,
) -> list[int]:  # fmt: skip
    """One row alone, all it attends to read anew for every token, once with its labels and once without."""
    labels = told.labels[row : row + 1]
    latent = told.latent[row : row + 1] if told.latent is not None else None
    generator = np.random.default_rng([seed, row])
    kept, padding, new = list(prompt), 0, []
    for _ in range(steps):
        ids = torch.tensor([kept])
        given = model(ids, conditions=Conditions(labels, latent)).logits[:, -1].double()
        none = model(ids, conditions=Conditions(torch.zeros_like(labels), latent)).logits[:, -1].double()
        # As probabilities: p(token) proportional to p0 (p / p0) ** g.
        combined = none.log_softmax(-1) + guidance * (given.log_softmax(-1) - none.log_softmax(-1))
        uniform = torch.tensor([generator.random()], dtype=torch.float32)
        new.append(int(sample(combined.float(), Settings([sampling]), uniform)))
        full = model.context is not None and len(kept) + padding >= WINDOW
        kept.append(new[-1])
        if full:
            tail = [*prompt, *new][-WINDOW * 3 // 4 :]
            kept = tail[tail.index(ANCHOR) :] if ANCHOR in tail[:-1] else tail
            padding = len(tail) - len(kept)
    return new


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("latent", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_every_row_is_what_two_uncached_readings_give_far_beyond_the_window(name, latent, guidance):
    model, prompt, steps = build(name), [1, ANCHOR, 3], 4 * WINDOW
    told = conditions(4, latent)
    rows = Engine(model, WINDOW, frozenset([ANCHOR])).run(rows_of(prompt, steps, 9, told, guidance))
    assert rows == [by_hand(model, prompt, steps, LIVELY, 9, row, told, guidance) for row in range(4)]
    assert len({tuple(row) for row in rows}) == 4


@pytest.mark.parametrize("name", MODELS)
def test_a_row_alone_is_the_row_among_others(name):
    model, steps = build(name), 4 * WINDOW
    engine = Engine(model, WINDOW, frozenset([ANCHOR]))
    few, many = (engine.run(rows_of([1, 2], steps, 4, conditions(size), 3.0)) for size in (1, 5))
    assert few == many[:1]


@pytest.mark.parametrize("name", MODELS)
def test_labels_and_guidance_change_the_music_and_labels_of_nothing_do_not(name):
    model, steps = build(name), 2 * WINDOW
    engine = Engine(model, WINDOW, frozenset([ANCHOR]))

    def row(labels, guidance):
        told = None if labels is None else torch.tensor(labels)
        return engine.run([Row([1], Free(steps), LIVELY, (2, 0), told, guidance=guidance)])[0]

    assert len({tuple(row([1, 3], guidance)) for guidance in (0.0, 1.0, 2.0)}) == 3
    assert row([1, 3], 1.0) != row([2, 3], 1.0)
    assert row(None, 1.0) == row([0, 0], 1.0) == row([0, 0], 5.0) == row([1, 3], 0.0)


class Counting(Recurrent):
    """Counts the rows of every reading."""

    def __init__(self) -> None:
        super().__init__(VOCABULARY, cell="gru", d_model=8, layers=1, condition_sizes=SIZES)
        self.rows: list[int] = []

    def forward(self, ids, state=None, conditions=None):
        self.rows.append(len(ids))
        return super().forward(ids, state, conditions)


@pytest.mark.parametrize(("labels", "guidance", "copies"), [([1, 0], 1.0, 1), ([0, 0], 2.0, 1), ([1, 0], 2.0, 2)])
def test_only_guidance_that_changes_something_costs_a_second_reading(labels, guidance, copies):
    model = Counting()
    rows = [Row([1], Free(5), GREEDY, (row,), torch.tensor(labels), guidance=guidance) for row in range(3)]
    Engine(model, 100).run(rows)
    assert model.rows == [copies, *[3 * copies] * 5]  # the prompt is the same in all rows


def test_of_several_rows_only_those_under_guidance_are_read_twice():
    model, steps = Counting(), (2, 9, 9, 9)
    told = [([1, 0], 3.0), ([1, 0], 1.0), ([0, 0], 3.0), ([2, 1], 0.5)]
    rows = [
        Row([3, row], Free(steps[row]), GREEDY, labels=torch.tensor(labels), guidance=guidance)
        for row, (labels, guidance) in enumerate(told)
    ]
    batch = Engine(model, 100).batch()
    batch.join(rows)
    assert batch.step() == batch.step() == []
    assert model.rows == [6, 6]
    assert batch.step() == [rows[0]]
    batch.leave(rows[1])
    batch.step()
    assert model.rows[2:] == [6, 3]
    batch.join([Row([5], Free(3), GREEDY, labels=torch.tensor([1, 1]), guidance=2.0)])
    batch.step()
    assert model.rows[4:] == [3, 2]
    batch.step()
    assert model.rows[6:] == [5]


class Nothing(State):
    """A state that remembers nothing."""

    def select(self, rows):
        pass

    def join(self, other):
        pass


class Obsessed(SequenceModel):
    """Says token 7 where label 1 is given, anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.vocab_size, self.context = VOCABULARY, None
        self.weight = nn.Parameter(torch.zeros(1))

    def new_state(self, batch_size, capacity, padding=None):
        return Nothing()

    def forward(self, ids, state=None, conditions=None):
        logits = torch.zeros(*ids.shape, VOCABULARY)
        logits[..., 7] = 20.0 * (conditions.labels[:, :1] == 1)
        return Output(logits)


class BanningSeven(Free):
    """Token 7 is never allowed."""

    def allowed(self):
        return np.arange(VOCABULARY) != 7


@pytest.mark.parametrize("guidance", [1.0, 3.0, 1000.0])
def test_what_a_guide_forbids_stays_forbidden_however_strongly_the_labels_ask_for_it(guidance):
    rows = [Row([1], guide, labels=torch.tensor([1]), guidance=guidance) for guide in (Free(50), BanningSeven(50))]
    free, banned = Engine(Obsessed(), 100).run(rows)
    assert set(free) == {7}
    assert len(banned) == 50
    assert 7 not in banned
