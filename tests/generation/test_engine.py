"""The cached engine against the plain loop that reads everything again at every step."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from midifactory.generation.engine import Engine, Free
from midifactory.generation.sampling import Sampling, sample
from midifactory.models.interface import Output, SequenceModel
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer

VOCABULARY, WINDOW, ANCHOR = 17, 24, 5
GREEDY, LIVELY = Sampling(top_k=1), Sampling(1.3, 0, 0.98)
MODELS = {
    "transformer": lambda: Transformer(VOCABULARY, 16, heads=2, layers=2, context=WINDOW, tie_embeddings=False),
    "gru": lambda: Recurrent(VOCABULARY, cell="gru", d_model=16, layers=2, tie_embeddings=False),
}


def build(name: str) -> SequenceModel:
    """A random model whose logits differ enough that its samples do not hang on rounding."""
    torch.manual_seed(3)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if name == "transformer" else 4)  # greater recurrent weights would be chaotic
    return model


class Recorder(SequenceModel):
    """Follows every token with the next one up, and notes what it is fed."""

    def __init__(self, context: int | None = None):
        super().__init__()
        self.vocab_size, self.context = VOCABULARY, context
        self.weight = nn.Parameter(torch.zeros(1))
        self.fed: list[list[list[int]]] = []
        self.paddings: list[list[int] | None] = []

    def new_state(self, batch_size: int, capacity: int, padding: Tensor | None = None) -> Any:
        self.paddings.append(None if padding is None else padding.tolist())
        return "state"

    def forward(self, ids: Tensor, state: Any = None, conditions: Any = None) -> Output:
        self.fed.append(ids.tolist())
        return Output(nn.functional.one_hot((ids + 1) % VOCABULARY, VOCABULARY).float(), state)


class Banning(Free):
    """Free, but one token is never allowed."""

    def __init__(self, max_new_tokens: int, banned: int):
        super().__init__(max_new_tokens)
        self.mask = np.arange(VOCABULARY) != banned

    def allowed(self) -> np.ndarray:
        return self.mask


@torch.inference_mode()
def uncached(model: SequenceModel, prompt: list[int], steps: int, sampling: Sampling, seed: int, row: int) -> list[int]:
    """One row alone: the model reads its whole context anew for every token.

    When the context is WINDOW tokens, it shrinks to its last three quarters and from there to the first anchor.
    """
    generator = np.random.default_rng([seed, row])
    kept, padding, new = list(prompt), 0, []
    for _ in range(steps):
        logits = model(torch.tensor([kept])).logits[:, -1]
        uniform = torch.tensor([generator.random()], dtype=torch.float32)
        new.append(int(sample(logits, sampling, uniform)))
        full = model.context is not None and len(kept) + padding >= WINDOW
        kept.append(new[-1])
        if full:
            tail = [*prompt, *new][-WINDOW * 3 // 4 :]
            kept = tail[tail.index(ANCHOR) :] if ANCHOR in tail[:-1] else tail
            padding = len(tail) - len(kept)
    return new


@pytest.mark.parametrize("name", MODELS)
def test_greedy_cached_decoding_is_the_uncached_argmax_loop(name):
    model, prompt = build(name), [1, 2, 3]
    (row,) = Engine(model, WINDOW).run(prompt, [Free(WINDOW - 4)], GREEDY)
    prefix = list(prompt)
    with torch.inference_mode():
        for _ in range(WINDOW - 4):
            prefix.append(int(model(torch.tensor([prefix])).logits[0, -1].argmax()))
    assert row == prefix[3:]
    assert len(set(row)) > 2


@pytest.mark.parametrize("name", MODELS)
def test_every_row_is_what_it_would_be_alone_and_uncached_far_beyond_the_window(name):
    model, prompt, steps = build(name), [1, ANCHOR, 3], 5 * WINDOW
    rows = Engine(model, WINDOW, frozenset([ANCHOR])).run(prompt, [Free(steps) for _ in range(4)], LIVELY, seed=9)
    assert rows == [uncached(model, prompt, steps, LIVELY, 9, row) for row in range(4)]
    assert len({tuple(row) for row in rows}) == 4


@pytest.mark.parametrize("name", MODELS)
def test_a_row_does_not_depend_on_how_many_rows_there_are(name):
    model, steps = build(name), 4 * WINDOW
    few, many = (
        Engine(model, WINDOW, frozenset([ANCHOR])).run([1, 2], [Free(steps) for _ in range(size)], LIVELY, seed=4)
        for size in (3, 5)
    )
    assert few == many[:3]
    other = Engine(model, WINDOW, frozenset([ANCHOR])).run([1, 2], [Free(steps) for _ in range(3)], LIVELY, seed=5)
    assert other != few


@pytest.mark.parametrize("name", MODELS)
def test_rows_that_have_ended_change_nothing_in_the_others(name):
    model, steps = build(name), 4 * WINDOW
    lengths = [steps, 1, 30, 0, steps]
    engine = Engine(model, WINDOW, frozenset([ANCHOR]))
    whole = engine.run([1, 2], [Free(steps) for _ in lengths], LIVELY, seed=4)
    some = engine.run([1, 2], [Free(length) for length in lengths], LIVELY, seed=4)
    assert some == [row[:length] for row, length in zip(whole, lengths, strict=True)]


def test_the_model_is_fed_the_prompt_once_and_then_one_token_a_step():
    model, prompt = Recorder(), [1, 2, 3, 4]
    (row,) = Engine(model, 1000).run(prompt, [Free(200)], GREEDY)
    assert row == [(5 + i) % VOCABULARY for i in range(200)]
    assert model.fed == [[prompt], *[[[token]] for token in row]]
    assert sum(len(ids[0]) for ids in model.fed) == len(prompt) + 200


def test_a_full_window_is_read_again_from_an_anchor_in_its_last_three_quarters():
    model, prompt = Recorder(context=WINDOW), [1, 2, 3]
    (row,) = Engine(model, WINDOW, frozenset([ANCHOR]), pad_id=0).run(prompt, [Free(100)], GREEDY)
    stream = prompt + row
    assert row == [(4 + i) % VOCABULARY for i in range(100)]
    read, seen, cached = 0, 0, 0
    for ids in (batch[0] for batch in model.fed[1:]):
        if len(ids) == 1:
            cached += 1
            assert cached <= WINDOW
            continue
        read += 1
        padding = model.paddings[read] or [0]
        real = ids[padding[0] :]
        end = 3 + model.fed[1:].index([ids], seen) + 1
        seen = end - 3
        assert ids[: padding[0]] == [0] * padding[0]
        assert real == stream[end - len(real) : end]  # the newest tokens, none left out
        assert real[0] == ANCHOR
        assert len(ids) <= WINDOW * 3 // 4
        cached = len(ids)
    assert read >= 5


def test_without_an_anchor_three_quarters_of_the_window_are_read_again():
    model = Recorder(context=WINDOW)
    (row,) = Engine(model, WINDOW).run([1], [Free(60)], GREEDY)
    again = [batch[0] for batch in model.fed[1:] if len(batch[0]) > 1]
    assert {len(ids) for ids in again} == {WINDOW * 3 // 4}
    assert again[0] == ([1, *row])[WINDOW + 1 - WINDOW * 3 // 4 : WINDOW + 1]


def test_what_a_guide_forbids_is_never_said():
    model = build("transformer")
    guides = [Banning(300, banned) for banned in range(3)]
    rows = Engine(model, WINDOW).run([4], guides, Sampling(3.0))
    for banned, row in enumerate(rows):
        assert banned not in row
        assert len(row) == 300


def test_an_end_token_ends_its_row():
    rows = Engine(Recorder(), 100).run([3], [Free(50, eos_id=9), Free(4, eos_id=9)], GREEDY)
    assert rows == [[4, 5, 6, 7, 8], [4, 5, 6, 7]]


def test_prompts_that_cannot_be_read_are_refused():
    engine = Engine(Recorder(context=8), 100)
    with pytest.raises(ValueError, match="8 tokens exceed the window of 8"):
        engine.run([1] * 8, [Free(1)], GREEDY)
    with pytest.raises(ValueError, match="empty"):
        engine.run([], [Free(1)], GREEDY)
    assert engine.run([1] * 7, [Free(1)], GREEDY) == [[2]]
