"""Mean hidden states, against a model's own arithmetic."""

import numpy as np
import pytest
import torch

from midifactory.evaluation.embeddings import head_of, mean_hidden_states
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer


@pytest.fixture(params=["transformer", "recurrent"])
def model(request):
    torch.manual_seed(0)
    if request.param == "transformer":
        return Transformer(20, d_model=16, layers=2, heads=2, context=12).eval()
    return Recurrent(20, d_model=16, layers=1).eval()


def test_the_mean_of_what_the_head_reads(model):
    """Where all is linear, the mean of the logits is the head of the mean."""
    pieces = [np.arange(1, 9), np.arange(3, 19)]
    found = mean_hidden_states(model, pieces, 10)
    assert found.shape == (2, 16)
    head = head_of(model)
    for ids, row in zip(pieces, found, strict=True):
        read = ids[:10] if model.context is not None else ids
        with torch.no_grad():
            logits = model(torch.from_numpy(read)[None]).logits[0].double().mean(0)
            expected = head(torch.from_numpy(row).float()).double()
        np.testing.assert_allclose(expected, logits, atol=1e-5)
    assert not head._forward_pre_hooks, "nothing is left on the model"


def test_a_model_without_a_head_is_refused():
    with pytest.raises(ValueError, match="Linear has no head"):
        mean_hidden_states(torch.nn.Linear(2, 2), [np.arange(3)], 4)
