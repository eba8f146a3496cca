"""The estimate is said in one line and leaves the training that follows as it was."""

import torch

from midifactory.training.estimate import Estimate, estimate_cost


def test_it_changes_nothing_of_the_training_to_come(new_run):
    run = new_run()
    model = run.module.model.eval()
    before, random_state = run.weights, torch.get_rng_state()
    estimate = estimate_cost(model, run.train, 12, torch.device("cpu"))
    assert all(torch.equal(run.weights[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not model.training
    assert estimate.steps == 12
    assert estimate.step_seconds > 0
    assert estimate.parameters == model.parameters_count


def test_its_line_is_for_people():
    line = Estimate(steps=90, step_seconds=2.0, memory_bytes=3 * 2**29, parameters=1234567).line()
    assert line == "1,234,567 parameters, 90 steps: about 3 min 00 s (2.00 s a step), 1.5 GiB of memory"
    assert "steps without end (2.00 s a step)" in Estimate(0, 2.0, 0, 5).line()
