"""The share of what is forbidden, against a loop that reads every prefix by itself."""

import numpy as np
import pytest
import torch

from midifactory.generation.lawfulness import unlawful_share
from midifactory.tokens.grid_walk import walk_maker
from midifactory.tokens.walk import Controls


def test_the_forbidden_share_by_a_naive_loop(untrained, hand_scores):
    tokenizer, model = untrained.tokenizer, untrained.model.eval()
    ids = tokenizer.to_model_ids(tokenizer.encode(hand_scores["piano_chords"]).ids)[:40].tolist()
    walk, expected = walk_maker(tokenizer, Controls())(), []
    for place, token in enumerate(ids[:-1]):
        walk.step(token)
        with torch.no_grad():
            shares = model(torch.tensor([ids[: place + 1]])).logits[0, -1].softmax(-1).numpy()
        expected.append(shares[~walk.allowed()].sum())
    found = unlawful_share(model, tokenizer, ids, window=len(ids))
    assert found == pytest.approx(np.mean(expected), abs=1e-5)
    assert 0 < found < 1
    windows = unlawful_share(model, tokenizer, ids, window=12)
    assert windows == pytest.approx(found, abs=0.2), "with less of the past"
    assert unlawful_share(model, tokenizer, ids[:1], window=12) == 0
