"""Models of note features: causal, cached as uncached, and a distribution over whole notes.

Oracles: every note there is, one by one; the nearest level by a loop; the model without its state.
"""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from midifactory.models.notes import ORDER, PITCHES, NoteModel
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer

INSTRUMENTS, LENGTH = 2, 12
TRUNKS = {
    "gru": lambda: Recurrent(PITCHES, cell="gru", d_model=16, layers=2),
    "lstm": lambda: Recurrent(PITCHES, cell="lstm", d_model=16, layers=2, tie_embeddings=False),
    "transformer": lambda: Transformer(PITCHES, d_model=16, heads=2, layers=2, context=LENGTH),
}
LEVELS = torch.tensor([[-1.0, 0.5, 2.0], [-1.5, 0.0, 1.0], [-0.25, 3.0, math.inf], [0.1, 0.4, 0.7]])


def build(name: str) -> NoteModel:
    torch.manual_seed(0)
    model = NoteModel(TRUNKS[name](), INSTRUMENTS, bins=3)
    for parameter in model.parameters():  # larger than at the start of training, so that nothing vanishes by rounding
        parameter.data.mul_(3.0)
    model.levels.copy_(LEVELS)
    return model.eval()


def notes(*shape: int, seed: int = 1) -> torch.Tensor:
    """Notes of random pitches and tracks, whose numbers are anything: (*shape, F)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(*shape, 5 + INSTRUMENTS, generator=generator)
    rows[..., 0] = torch.randint(PITCHES, shape, generator=generator) / 127
    rows[..., 5:] = F.one_hot(torch.randint(INSTRUMENTS, shape, generator=generator), INSTRUMENTS)
    return rows


@pytest.fixture(params=list(TRUNKS))
def model(request) -> NoteModel:
    return build(request.param)


@torch.no_grad()
def test_later_notes_change_nothing_before_them(model):
    rows = notes(2, LENGTH)
    before = model(rows)[0]
    assert before.shape == (2, LENGTH, 16)
    for t in range(LENGTH - 1):
        changed = torch.cat([rows[:, : t + 1], notes(2, LENGTH - t - 1, seed=5)], 1)
        after = model(changed)[0]
        torch.testing.assert_close(after[:, : t + 1], before[:, : t + 1], rtol=0, atol=1e-5)
        assert not torch.allclose(after[:, t + 1], before[:, t + 1])


@torch.no_grad()
@pytest.mark.parametrize("read", [1, 5, LENGTH - 1])
def test_read_with_a_state_or_at_once_is_the_same(model, read):
    rows = notes(3, LENGTH)
    due = model(rows)[0]
    known, state = model(rows[:, :read], model.new_state(3, LENGTH))
    parts = [known]
    for t in range(read, LENGTH):
        known, state = model(rows[:, t : t + 1], state)
        parts.append(known)
    torch.testing.assert_close(torch.cat(parts, 1), due, rtol=0, atol=1e-5)


@torch.no_grad()
def test_every_feature_of_a_note_is_read(model):
    rows = notes(1, 3)
    due = model(rows)[0][0, -1]
    for column in range(5 + INSTRUMENTS):
        changed = rows.clone()
        changed[0, 1, column] += 0.5 if column else 2 / 127
        assert not torch.allclose(model(changed)[0][0, -1], due, atol=1e-6), column


@torch.no_grad()
def test_no_number_is_too_great_to_be_read(model):
    rows = notes(1, 4)
    rows[..., 2] = 50.0
    far = rows.clone()
    far[..., 2] = 5000.0
    assert torch.equal(model(rows)[0], model(far)[0])


def test_a_number_counts_as_the_nearest_level(model):
    rows = notes(200)
    found = model.classes(rows)
    for row, column in enumerate((1, 2, 3, 4)):
        name = ("duration", "offset", "time_delta", "velocity")[row]
        levels = [level for level in LEVELS[row].tolist() if math.isfinite(level)]
        for value, index in zip(rows[:, column].tolist(), found[name].tolist(), strict=True):
            assert abs(value - levels[index]) == min(abs(value - level) for level in levels)
    assert torch.equal(found["pitch"], (rows[:, 0] * 127).round().long())
    assert torch.equal(found["track"], rows[:, 5:].argmax(1))


def every_note() -> torch.Tensor:
    """All notes of the levels, their offsets aside: (M, F)."""
    tracks, deltas, durations, velocities = range(INSTRUMENTS), LEVELS[2, :2], LEVELS[0], LEVELS[3]
    rows = []
    for track, delta, pitch, duration, velocity in itertools.product(
        tracks, deltas.tolist(), range(PITCHES), durations.tolist(), velocities.tolist()
    ):
        one_hot = [float(track == index) for index in range(INSTRUMENTS)]
        rows.append([pitch / 127, duration, 0.0, delta, velocity, *one_hot])
    return torch.tensor(rows)


@torch.no_grad()
def test_the_probabilities_of_all_notes_add_up_to_one(model):
    rows = every_note()
    known = model(notes(1, 5))[0][0, -1].expand(len(rows), -1)
    nats = model.nats(known, rows)
    total = sum(nats[name].double() for name in ORDER)
    assert float((-total).exp().sum()) == pytest.approx(1, abs=1e-5)
    # Features are not independent of each other: what a note is like depends on its track, and so on.
    for name in ORDER[1:]:
        assert len(nats[name].unique()) > model.sizes[name]


@torch.no_grad()
def test_offsets_are_a_distribution_of_their_own(model):
    rows = notes(3)
    rows[:, 2] = LEVELS[1]
    known = model(notes(1, 5))[0][0, -1].expand(3, -1)
    assert float((-model.nats(known, rows)["offset"]).exp().sum()) == pytest.approx(1, abs=1e-6)


@torch.no_grad()
def test_a_drawn_note_is_what_was_chosen(model):
    """Its classes are those taken, its logits those of its nats, and what a head says depends on what came before."""
    known, seen = model(notes(4, 5))[0][:, -1], {}
    generator = torch.Generator().manual_seed(3)

    def choose(name, logits, chosen):
        assert list(chosen) == list(ORDER[: ORDER.index(name)])
        taken = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
        seen[name] = taken, F.cross_entropy(logits, taken, reduction="none")
        return taken

    rows = model.draw(known, choose)
    assert (rows[:, 2] == 0).all()
    assert (rows[:, 5:].sum(1) == 1).all()
    classes, nats = model.classes(rows), model.nats(known, rows)
    for name in ORDER:
        assert torch.equal(classes[name], seen[name][0])
        torch.testing.assert_close(nats[name], seen[name][1])
    for name, row in (("duration", 0), ("time_delta", 2), ("velocity", 3)):
        column = ("pitch", "duration", "offset", "time_delta", "velocity").index(name)
        assert torch.equal(rows[:, column], LEVELS[row][classes[name]])


def test_a_level_that_is_not_there_is_never_taken(model):
    assert model.sizes == {"track": 2, "pitch": 128, "duration": 3, "time_delta": 2, "velocity": 3}
    logits = model.logits("time_delta", torch.randn(50, 16))
    assert (logits[:, 2] == -math.inf).all()
    assert logits[:, :2].isfinite().all()


def test_a_value_that_never_changes_costs_nothing(model):
    model.levels[0] = torch.tensor([0.25, math.inf, math.inf])
    nats = model.nats(torch.randn(50, 16, requires_grad=True), notes(50))
    assert (nats["duration"] == 0).all()
    sum(value.sum() for value in nats.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_two_good_continuations_stay_two():
    """After the same notes come pitch 60, short, or pitch 72, long; a squared error would settle on one 66."""
    torch.manual_seed(0)
    model = NoteModel(TRUNKS["gru"](), INSTRUMENTS, bins=3)
    model.levels.copy_(LEVELS)
    window = notes(1, 4).repeat(2, 1, 1)
    targets = notes(1).repeat(2, 1)
    targets[:, 0], targets[:, 1] = torch.tensor([60, 72]) / 127, torch.tensor([-1.0, 2.0])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        nats = model.nats(model(window)[0][:, -1], targets)
        optimizer.zero_grad()
        sum(value.mean() for value in nats.values()).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        nats = model.nats(model(window)[0][:, -1], targets)
        assert nats["pitch"].tolist() == pytest.approx([math.log(2)] * 2, abs=0.1)
        assert nats["duration"].tolist() == pytest.approx([0] * 2, abs=0.1)
        mixed = targets.clone()
        mixed[:, 1] = targets[:, 1].flip(0)  # each pitch with the other's duration
        assert (model.nats(model(window)[0][:, -1], mixed)["duration"] > 2).all()


def test_trunks_that_cannot_serve_are_refused():
    with pytest.raises(ValueError, match="Recurrent takes no note features"):
        NoteModel(Recurrent(40, d_model=8, layers=1))
    with pytest.raises(ValueError, match="Linear takes no note features; set model=gru, lstm or transformer"):
        NoteModel(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"Transformer with experts takes no note features; set model\.experts=0"):
        NoteModel(Transformer(PITCHES, d_model=16, heads=2, layers=1, experts=2))
