"""The cached engine against the plain loop that reads everything again at every step."""

import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from midifactory.errors import UserError
from midifactory.generation import engine as module
from midifactory.generation.engine import Engine, Free, Row
from midifactory.generation.sampling import Sampling, Settings, sample
from midifactory.models.frames import FrameTransformer
from midifactory.models.interface import Conditions, Output, SequenceModel, State
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer
from midifactory.models.vae import VAE
from midifactory.tokens.grid import VoiceGrid

VOCABULARY, WINDOW, ANCHOR = 17, 24, 5
GREEDY, LIVELY = Sampling(top_k=1), Sampling(1.3, 0, 0.98)
TRANSFORMER = partial(Transformer, VOCABULARY, 16, heads=2, layers=2, context=WINDOW, tie_embeddings=False)
MODELS = {
    "transformer": TRANSFORMER,
    "alibi": partial(TRANSFORMER, positions="alibi"),
    "gru": partial(Recurrent, VOCABULARY, cell="gru", d_model=16, layers=2, tie_embeddings=False),
    "attentive": partial(
        Recurrent, VOCABULARY, "gru", 16, layers=2, attention_heads=2, attention_span=5, tie_embeddings=False
    ),
}
TOLD = {"condition_sizes": (3, 4), "latent_size": 2, "tie_embeddings": False}
CONDITIONED = {
    "added": partial(TRANSFORMER, **TOLD),
    "prefix": partial(TRANSFORMER, condition_mode="prefix", **TOLD),
    "gru": partial(Recurrent, VOCABULARY, cell="gru", d_model=16, layers=2, condition_mode="prefix", **TOLD),
}


def build(make: partial) -> SequenceModel:
    """A random model whose logits differ enough that its samples do not hang on rounding."""
    torch.manual_seed(3)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Greater recurrent weights would be chaotic.
            parameter.mul_(8 if isinstance(model, Transformer) else 2 if "condition_sizes" in make.keywords else 4)
    return model


def several(prompt: list[int], steps: list[int], sampling: Sampling, seed: int = 0) -> list[Row]:
    """Rows of one prompt that end after `steps` tokens each."""
    return [Row(prompt, Free(count), sampling, (seed, row)) for row, count in enumerate(steps)]


@dataclass
class Read(State):
    """What each row has read, token for token."""

    rows: list[list[int]]
    padding: list[int]

    def select(self, rows: Any) -> None:
        self.rows, self.padding = [list(self.rows[row]) for row in rows], [0] * len(rows)

    def join(self, other: "Read") -> None:
        assert all(self.rows)
        assert all(other.rows)
        self.rows, self.padding = self.rows + other.rows, self.padding + other.padding


class Recorder(SequenceModel):
    """Follows every token with the next one up, and notes what it is fed."""

    def __init__(self, context: int | None = None):
        super().__init__()
        self.vocab_size, self.context = VOCABULARY, context
        self.weight = nn.Parameter(torch.zeros(1))
        self.fed: list[list[list[int]]] = []

    def new_state(self, batch_size: int, capacity: int, padding: Tensor | None = None) -> Read:
        return Read([[] for _ in range(batch_size)], [0] * batch_size if padding is None else padding.tolist())

    def forward(self, ids: Tensor, state: Any = None, conditions: Any = None) -> Output:
        assert len(ids) == len(state.rows)
        self.fed.append([new[missing:] for new, missing in zip(ids.tolist(), state.padding, strict=True)])
        assert self.context is not None or not any(state.padding)
        for row, new in zip(state.rows, self.fed[-1], strict=True):
            row.extend(new)
            assert self.context is None or len(row) <= self.context
        state.padding = [0] * len(ids)
        return Output(nn.functional.one_hot((ids + 1) % VOCABULARY, VOCABULARY).float(), state)


class Banning(Free):
    """Free, but one token is never allowed."""

    def __init__(self, max_new_tokens: int, banned: int):
        super().__init__(max_new_tokens)
        self.mask = np.arange(VOCABULARY) != banned

    def allowed(self) -> np.ndarray:
        return self.mask


class Strict(Free):
    """Allows two thirds of the tokens, others at each step, likes one, and forces some."""

    def __init__(self, max_new_tokens: int, salt: int):
        super().__init__(max_new_tokens)
        self.salt, self.bars = salt, 0

    def forced(self) -> int | None:
        return (self.left + self.salt) % VOCABULARY if self.left % 5 == 4 else None

    def allowed(self) -> np.ndarray:
        return (np.arange(VOCABULARY) + self.left + self.salt) % 3 > 0

    def bias(self) -> np.ndarray | None:
        return np.eye(VOCABULARY)[self.salt % VOCABULARY] * 2 if self.left % 2 else None

    def take(self, token: int) -> int | None:
        self.opens_bar = token == 7 and self.salt % 2 == 0
        return super().take(token)


@torch.inference_mode()
def uncached(model: SequenceModel, row: Row, told: Conditions | None = None) -> tuple[list[int], float]:
    """One row alone, its new tokens and their nats: the model reads its whole context anew for every token.

    When the context is WINDOW tokens, it shrinks to its last three quarters and from there to the first bar.
    """
    generator = np.random.default_rng(list(row.seed))
    settings = Settings([row.sampling], temperatures=[row.temperatures])
    kept, padding, new, nats = list(row.prompt), 0, [], 0.0
    while True:
        logits = model(torch.tensor([kept]), conditions=told).logits[:, -1]
        plain = logits
        if told is not None and told.labels is not None:
            none = model(torch.tensor([kept]), conditions=Conditions(torch.zeros_like(told.labels), told.latent))
            logits = none.logits[:, -1] + row.guidance * (logits - none.logits[:, -1])
        forced, mask, bias = row.guide.forced(), row.guide.allowed(), row.guide.bias()
        if bias is not None:
            logits = logits + torch.from_numpy(bias).float()
        if mask is not None:
            forbidden = torch.from_numpy(~mask)
            logits, plain = (part.masked_fill(forbidden, -torch.inf) for part in (logits, plain))
        drawn = int(sample(logits, settings, torch.tensor([generator.random()], dtype=torch.float32)))
        token = row.guide.take(drawn if forced is None else forced)
        if token is None:
            return new, nats
        if forced is None:
            nats -= float(plain.double().log_softmax(-1)[0, drawn])
        new.append(token)
        full = model.context is not None and len(kept) + padding >= WINDOW
        kept.append(token)
        if full:
            tail = [*row.prompt, *new][-WINDOW * 3 // 4 :]
            start = next((place for place, one in enumerate(tail[:-1]) if one in bars(row)), 0)
            kept, padding = tail[start:], start


def test_an_empty_batch_and_no_rows_do_nothing():
    engine = Engine(Recorder(), 100)
    assert engine.run([]) == []
    batch = engine.batch()
    assert batch.step() == []
    batch.join([])
    assert batch.rows == []


@pytest.mark.parametrize("name", MODELS)
def test_greedy_cached_decoding_is_the_uncached_argmax_loop(name):
    model, prompt = build(MODELS[name]), [1, 2, 3]
    (row,) = Engine(model, WINDOW).run(several(prompt, [WINDOW - 4], GREEDY))
    prefix = list(prompt)
    with torch.inference_mode():
        for _ in range(WINDOW - 4):
            prefix.append(int(model(torch.tensor([prefix])).logits[0, -1].argmax()))
    assert row == prefix[3:]
    assert len(set(row)) > 2


@pytest.mark.parametrize("name", MODELS)
def test_every_row_is_what_it_would_be_alone_and_uncached_far_beyond_the_window(name):
    model, prompt, steps = build(MODELS[name]), [1, ANCHOR, 3], [5 * WINDOW] * 4
    rows = Engine(model, WINDOW, frozenset([ANCHOR])).run(several(prompt, steps, LIVELY, seed=9))
    assert rows == [uncached(model, row)[0] for row in several(prompt, steps, LIVELY, seed=9)]
    assert len({tuple(row) for row in rows}) == 4


@pytest.mark.parametrize("name", MODELS)
def test_a_row_does_not_depend_on_how_many_rows_there_are(name):
    engine, steps = Engine(build(MODELS[name]), WINDOW, frozenset([ANCHOR])), [4 * WINDOW] * 5
    few, many = (engine.run(several([1, 2], steps[:size], LIVELY, seed=4)) for size in (3, 5))
    assert few == many[:3]
    assert engine.run(several([1, 2], steps[:3], LIVELY, seed=5)) != few


@pytest.mark.parametrize("name", MODELS)
def test_rows_that_have_ended_change_nothing_in_the_others(name):
    steps = 4 * WINDOW
    lengths = [steps, 1, 30, 0, steps]
    engine = Engine(build(MODELS[name]), WINDOW, frozenset([ANCHOR]))
    whole = engine.run(several([1, 2], [steps] * 5, LIVELY, seed=4))
    some = engine.run(several([1, 2], lengths, LIVELY, seed=4))
    assert some == [row[:length] for row, length in zip(whole, lengths, strict=True)]


def mixed(count: int) -> list[Row]:
    """Rows of other prompts, lengths, guides, settings and seeds."""
    samplings = [LIVELY, Sampling(1.5, 9), Sampling(0.0), Sampling(1.4, min_p=0.05), Sampling(1.6, typical_p=0.9)]
    rows = []
    for index in range(count):
        chance = random.Random(index)
        # Without token 7, which opens a bar only where a guide says so.
        prompt = [chance.choice([2, 3, 4, ANCHOR, 11, 12]) for _ in range(chance.randrange(1, WINDOW))]
        length = chance.randrange(5 * WINDOW)
        guide = Strict(length, index) if index % 3 else Free(length)
        temperatures = torch.linspace(0.7, 1.5, VOCABULARY) if index % 4 == 3 else None
        seed = (index, 7) if index % 2 else (index,)
        sampling = samplings[index % len(samplings)]
        rows.append(Row(prompt, guide, sampling, seed, temperatures=temperatures, scored=True))
    return rows


def bars(row: Row) -> frozenset[int]:
    """The tokens at which it may be started anew."""
    return frozenset([ANCHOR, 7] if isinstance(row.guide, Strict) and row.guide.salt % 2 == 0 else [ANCHOR])


@pytest.mark.parametrize("name", MODELS)
def test_rows_that_differ_in_everything_are_each_the_row_alone(name):
    model = build(MODELS[name])
    rows, alone = mixed(12), [uncached(model, row) for row in mixed(12)]
    assert Engine(model, WINDOW, frozenset([ANCHOR])).run(rows) == [new for new, _ in alone]
    assert [row.nats for row in rows] == pytest.approx([nats for _, nats in alone], abs=1e-2, rel=1e-4)
    assert sum(len(new) > 2 * WINDOW for new, _ in alone) > 2


@pytest.mark.parametrize("at_once", [1, 2, 5, 100])
@pytest.mark.parametrize("name", MODELS)
def test_how_many_rows_are_decoded_at_once_changes_nothing(name, at_once):
    engine, steps = Engine(build(MODELS[name]), WINDOW, frozenset([ANCHOR])), []
    whole = engine.run(mixed(12))
    assert engine.run(mixed(12), steps.append, at_once) == whole
    assert sum(steps) == sum(map(len, whole))
    assert max(steps) == min(at_once, 12)
    with pytest.raises(ValueError, match="at_once=0"):
        engine.run(mixed(1), at_once=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", MODELS)
def test_rows_join_and_leave_a_running_batch_at_any_time(name, seed):
    engine, chance = Engine(build(MODELS[name]), WINDOW, frozenset([ANCHOR])), random.Random(seed)
    whole = engine.run(mixed(16))
    rows = mixed(16)
    batch, waiting, ended, left = engine.batch(), list(rows), [], []
    while waiting or batch.rows:
        if waiting and chance.random() < 0.2:
            new = [waiting.pop(0) for _ in range(min(len(waiting), chance.randrange(1, 4)))]
            batch.join(new)
            assert set(batch.rows[-len(new) :]) == set(new)
        if batch.rows and chance.random() < 0.04:
            left.append(chance.choice(batch.rows))
            batch.leave(left[-1])
            assert left[-1] not in batch.rows
        before = batch.rows
        done = batch.step()
        assert set(before) - set(done) == set(batch.rows)
        ended += done
    assert left
    assert set(ended) | set(left) == set(rows)
    assert not set(ended) & set(left)
    for row, expected in zip(rows, whole, strict=True):
        assert row.new == (expected if row in ended else expected[: len(row.new)])


@pytest.mark.parametrize("name", CONDITIONED)
def test_rows_of_other_conditions_and_guidance_are_each_the_row_alone(name):
    model, count = build(CONDITIONED[name]), 10
    guidances, labels = [1.0, 2.5, 0.0], [[1, 3], [2, 0], [0, 0], None]

    def rows():
        made = mixed(count)
        for index, row in enumerate(made):
            row.guidance, own = guidances[index % 3], labels[index % 4]
            row.labels = None if own is None else torch.tensor(own)
            row.latent = torch.linspace(-1, 1, 2) * index if index % 5 else None
        return made

    def conditions(row):
        none = torch.zeros(1, 2, dtype=torch.int64)
        return Conditions(
            none if row.labels is None else row.labels[None],
            torch.zeros(1, 2) if row.latent is None else row.latent[None],
        )

    alone = [uncached(model, row, conditions(row)) for row in rows()]
    for at_once in (None, 3):
        together = rows()
        assert Engine(model, WINDOW, frozenset([ANCHOR])).run(together, at_once=at_once) == [new for new, _ in alone]
        nats = [row.nats for row in together]
        assert nats == pytest.approx([nats for _, nats in alone], abs=1e-2, rel=1e-4)


def test_only_rows_that_are_to_be_scored_are_and_a_forced_token_counts_nothing():
    class Forcing(Free):
        def forced(self):
            return 3

    engine = Engine(build(MODELS["gru"]), 100)
    rows = [Row([1], Free(9), scored=True), Row([1], Free(9)), Row([1], Forcing(9), scored=True)]
    engine.run(rows)
    assert rows[0].nats > 0
    assert rows[1].nats == rows[2].nats == 0
    assert rows[0].new == rows[1].new
    assert rows[2].new == [3] * 9


def test_nats_are_of_what_the_guide_allows_at_temperature_one_by_hand():
    """Recorder gives the next token up e times the weight of each other one."""

    class Three(Free):
        def allowed(self):
            return np.isin(np.arange(VOCABULARY), [2, 3, 9])

        def bias(self):
            return 5.0 * (np.arange(VOCABULARY) == 9)

    row = Row([1], Three(1), Sampling(0.0), scored=True)
    Engine(Recorder(), 100).run([row])
    assert row.new == [9]
    assert row.nats == pytest.approx(np.log(np.e + 2))


def test_the_model_is_fed_the_prompt_once_and_then_one_token_a_step():
    model, prompt = Recorder(), [1, 2, 3, 4]
    (row,) = Engine(model, 1000).run(several(prompt, [200], GREEDY))
    assert row == [(5 + i) % VOCABULARY for i in range(200)]
    assert model.fed == [[prompt], *[[[token]] for token in row]]
    assert sum(len(ids[0]) for ids in model.fed) == len(prompt) + 200


def test_a_prompt_of_several_rows_is_read_once():
    model = Recorder()
    rows = [*several([1, 2, 3], [2] * 4, GREEDY), *several([4, 5, 6], [2], GREEDY), *several([7], [2] * 2, GREEDY)]
    Engine(model, 100).run(rows)
    assert model.fed[:2] == [[[1, 2, 3], [4, 5, 6]], [[7]]]
    assert model.fed[2] == [[4]] * 4 + [[7]] + [[8]] * 2


def test_prompts_of_like_length_are_read_together_where_a_model_takes_padding():
    model = Recorder(context=100)
    prompts = [[1] * length for length in (16, 1, 12, 11, 2, 13)]
    Engine(model, 100).run([Row(prompt, Free(1), GREEDY) for prompt in prompts])
    assert [[len(ids) for ids in batch] for batch in model.fed[:4]] == [[16, 12, 13], [11], [2], [1]]
    assert [len(batch) for batch in model.fed[4:]] == [6]
    recurrent = Recorder()
    Engine(recurrent, 100).run([Row(prompt, Free(1), GREEDY) for prompt in prompts])
    assert [[len(ids) for ids in batch] for batch in recurrent.fed[:6]] == [[16], [13], [12], [11], [2], [1]]


def test_ended_rows_go_along_until_they_are_half_of_the_batch():
    model = Recorder()
    Engine(model, 100).run(several([1], [1, 2, 3, 4, 5, 6, 7, 8], GREEDY))
    assert [len(batch) for batch in model.fed[1:]] == [8, 8, 8, 8, 4, 4, 2, 1]


def test_a_full_window_is_read_again_from_an_anchor_in_its_last_three_quarters():
    model, prompt, limit = Recorder(context=WINDOW), [1, 2, 3], WINDOW * 3 // 4
    (row,) = Engine(model, WINDOW, frozenset([ANCHOR])).run(several(prompt, [100], GREEDY))
    stream = prompt + row
    assert row == [(4 + i) % VOCABULARY for i in range(100)]
    ends, end = [], len(prompt)
    for (ids,) in model.fed[1:]:
        end += 1
        assert ids == stream[end - len(ids) : end]  # the newest tokens, none left out
        if len(ids) > 1:
            ends.append(end)
            assert ids[0] == ANCHOR
            assert ANCHOR not in stream[end - limit : end - len(ids)]
    # As often as if the whole share had been kept.
    assert ends == list(range(WINDOW + 1, end + 1, WINDOW + 1 - limit))
    assert len(ends) >= 5


def test_a_row_is_read_again_from_where_its_guide_says_that_a_bar_opens():
    class Telling(Free):
        def take(self, token):
            self.opens_bar = token == 11
            return super().take(token)

    model = Recorder(context=WINDOW)
    Engine(model, WINDOW).run([Row([1], Telling(60), GREEDY)])
    again = [ids for (ids,) in model.fed[1:] if len(ids) > 1]
    assert len(again) > 3
    assert {ids[0] for ids in again} == {11}


def test_without_an_anchor_three_quarters_of_the_window_are_read_again():
    model = Recorder(context=WINDOW)
    (row,) = Engine(model, WINDOW).run(several([1], [60], GREEDY))
    again = [ids for (ids,) in model.fed[1:] if len(ids) > 1]
    assert {len(ids) for ids in again} == {WINDOW * 3 // 4}
    assert again[0] == ([1, *row])[WINDOW + 1 - WINDOW * 3 // 4 : WINDOW + 1]


def test_a_row_is_read_again_when_its_own_window_is_full_and_alone():
    model = Recorder(context=WINDOW)
    rows = [Row([1] * length, Free(30), GREEDY) for length in (1, 9, 20)]
    Engine(model, WINDOW).run(rows)
    again = {step: ids for step, ids in enumerate(model.fed[3:], 1) if len(ids[0]) > 1}
    assert {len(ids) for ids in again.values()} == {1}
    assert all(row.new == [(2 + i) % VOCABULARY for i in range(30)] for row in rows)


def test_what_a_guide_forbids_is_never_said():
    guides = [Banning(300, banned) for banned in range(3)]
    rows = Engine(build(MODELS["transformer"]), WINDOW).run([Row([4], guide, Sampling(3.0)) for guide in guides])
    for banned, row in enumerate(rows):
        assert banned not in row
        assert len(row) == 300


def test_a_guide_that_allows_nothing_is_named():
    class Nothing(Free):
        def allowed(self):
            return np.zeros(VOCABULARY, dtype=bool)

    with pytest.raises(ValueError, match="allows no token"):
        Engine(Recorder(), 100).run([Row([1], Free(5)), Row([1], Nothing(5))])


def test_an_end_token_ends_its_row():
    rows = [Row([3], Free(count, eos_id=9), GREEDY) for count in (50, 4)]
    assert Engine(Recorder(), 100).run(rows) == [[4, 5, 6, 7, 8], [4, 5, 6, 7]]


def test_prompts_that_cannot_be_read_are_refused_before_any_is():
    model = Recorder(context=8)
    engine = Engine(model, 100)
    with pytest.raises(ValueError, match="8 tokens exceed the window of 8"):
        engine.run([Row([1], Free(1)), Row([1] * 8, Free(1))], at_once=1)
    with pytest.raises(ValueError, match="empty"):
        engine.run([Row([], Free(1))])
    batch = engine.batch()
    with pytest.raises(ValueError, match="8 tokens exceed"):
        batch.join([Row([1], Free(1)), Row([1] * 8, Free(1))])
    assert batch.rows == []
    assert not model.fed
    assert engine.run([Row([1] * 7, Free(1), GREEDY)]) == [[2]]


GRID = VoiceGrid()
SIZED = {
    # layers x keys and values x (prefix + window) x d_model x 4 bytes
    "transformer": (MODELS["transformer"], 2 * 2 * WINDOW * 16 * 4),
    "prefix": (CONDITIONED["prefix"], 2 * 2 * (2 + WINDOW) * 16 * 4),
    "vae": (
        partial(VAE, VOCABULARY, d_model=16, heads=2, layers=3, context=WINDOW, latent_size=3),
        3 * 2 * WINDOW * 16 * 4,
    ),
    "gru": (MODELS["gru"], 2 * 16 * 4),
    "lstm": (partial(Recurrent, VOCABULARY, d_model=16, layers=3), 3 * 2 * 16 * 4),
}


@pytest.mark.parametrize("name", SIZED)
def test_the_memory_of_a_row_is_that_of_its_state(name):
    make, size = SIZED[name]
    assert Engine(make(), WINDOW).bytes_per_row() == size


def test_the_memory_of_a_row_that_grows_is_taken_for_the_whole_window():
    attentive, frames = MODELS["attentive"](), FrameTransformer(GRID.vocab_size, 16, heads=2, places=GRID.places())
    assert Engine(attentive, 5).bytes_per_row() >= 2 * 5 * 16 * 4
    assert Engine(attentive, 1000).bytes_per_row() > Engine(attentive, 10).bytes_per_row()
    assert Engine(frames, 1024).bytes_per_row() >= 2 * 2 * 256 * 16 * 4


def test_more_rows_than_fit_into_memory_are_refused_with_the_estimate(monkeypatch):
    engine = Engine(MODELS["transformer"](), WINDOW)
    monkeypatch.setattr(module, "free_bytes", lambda device: 10_000_000)
    engine.refuse_too_many(10_000_000 // engine.bytes_per_row())
    monkeypatch.setattr(engine, "bytes_per_row", lambda: 6_144_000)
    with pytest.raises(UserError, match=r"num_samples=2000: .*12\.29 GB, 0\.01 GB are free; .*smaller window") as error:
        engine.refuse_too_many(2000)
    assert "\n" not in str(error.value)
    monkeypatch.setattr(module, "free_bytes", lambda device: None)
    engine.refuse_too_many(10**12)


def test_free_memory_is_read_where_it_is_known(monkeypatch):
    text = "MemTotal:       24580000 kB\nMemFree:  100 kB\nMemAvailable:   22000000 kB\n"
    monkeypatch.setattr(module.Path, "read_text", lambda path: text)
    assert module.free_bytes(torch.device("cpu")) == 22_000_000 * 1024
    assert module.free_bytes(torch.device("meta")) is None

    def missing(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(module.Path, "read_text", missing)
    assert module.free_bytes(torch.device("cpu")) is None
