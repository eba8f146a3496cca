"""Schedules by their closed forms, at the ends and between."""

import math

import pytest

from midifactory.errors import UserError
from midifactory.training.schedules import constant, cosine, stable_decay

SCHEDULES = [cosine, stable_decay, constant]


def test_the_cosine_rises_in_line_falls_as_a_cosine_and_ends_at_its_share():
    share = cosine(110, warmup_steps=10, final_lr_share=0.1)
    assert [share(step) for step in range(10)] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert share(10) == pytest.approx(1.0)
    assert share(60) == pytest.approx(0.55)  # half of the way, half of the fall
    assert share(35) == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)
    assert share(110) == pytest.approx(0.1)
    assert share(500) == pytest.approx(0.1)
    falling = [share(step) for step in range(10, 111)]
    assert falling == sorted(falling, reverse=True)


def test_stable_decay_stays_at_the_peak_and_then_falls_to_its_share():
    share = stable_decay(1000, warmup_steps=50, decay_share=0.2, final_lr_share=0.1)
    assert share(24) == pytest.approx(0.5)
    assert {share(step) for step in range(50, 801)} == {1.0}
    assert share(850) == pytest.approx(0.1 + 0.9 * (1 - math.sqrt(0.25)))  # a quarter of the descent
    assert share(1000) == pytest.approx(0.1)
    assert share(2000) == pytest.approx(0.1)
    falling = [share(step) for step in range(800, 1001)]
    assert falling == sorted(falling, reverse=True)
    assert stable_decay(100, warmup_steps=10, decay_share=1.0)(10) == pytest.approx(1.0)


def test_constant_stays_at_the_peak():
    share = constant(math.inf, warmup_steps=4)
    assert [share(step) for step in (0, 1, 2, 3, 4, 10**6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_short_training_warms_up_for_a_tenth(schedule):
    share = schedule(50, warmup_steps=100)
    assert [share(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("total", [0, 1, 2, 17, 155])
def test_every_step_of_any_training_has_a_rate_up_to_the_peak(schedule, total):
    shares = [schedule(total)(step) for step in range(max(1, total))]
    assert all(0 < share <= 1 for share in shares)
    assert max(shares) == pytest.approx(1.0)


@pytest.mark.parametrize("schedule", [cosine, stable_decay])
def test_a_descent_needs_an_end(schedule):
    with pytest.raises(UserError, match=rf"schedule={schedule.__name__} needs.*trainer\.max_steps.*schedule=constant"):
        schedule(math.inf)


@pytest.mark.parametrize(
    ("schedule", "settings"),
    [
        (cosine, {"warmup_steps": -1}),
        (constant, {"warmup_steps": "many"}),
        (constant, {"warmup_steps": 0.5}),
        (cosine, {"final_lr_share": 1.5}),
        (stable_decay, {"final_lr_share": "low"}),
        (cosine, {"final_lr_share": None}),
        (stable_decay, {"decay_share": 0}),
        (stable_decay, {"decay_share": "late"}),
        (stable_decay, {"decay_share": None}),
    ],
)
def test_numbers_that_cannot_be(schedule, settings):
    ((name, value),) = settings.items()
    with pytest.raises(UserError, match=rf"schedule\.{name}={value}: give"):
        schedule(100, **settings)
