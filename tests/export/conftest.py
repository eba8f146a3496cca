"""Untrained models with all that a checkpoint says of one."""

from pathlib import Path

import pytest
import torch

from midifactory.music.profile import ProfileTally
from midifactory.training.checkpoint import Trained, build_model

TRANSFORMER = "midifactory.models.transformer.Transformer"
RECURRENT = "midifactory.models.recurrent.Recurrent"


@pytest.fixture(autouse=True)
def one_thread():
    """Threads cost a model of this size more than they give, above all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def new_trained(tokenizer, hand_scores):
    """Makes a model of a config, with weights large enough that its logits differ."""
    tally = ProfileTally()
    for score in hand_scores.values():
        tally.add(score)

    def make(target=TRANSFORMER, seed=0, **keywords):
        sizes = {"heads": 2, "context": 128} if target == TRANSFORMER else {}
        config = {"_target_": target, "d_model": 16, "layers": 2, **sizes, **keywords}
        torch.manual_seed(seed)
        model = build_model(config, tokenizer).eval()
        for parameter in model.parameters():
            parameter.data.mul_(3.0)
        return Trained(
            model, tokenizer, 120, tally.profile(), "hand", Path("hand.ckpt"), "0" * 64, None, config, None,
            {"unit": "bars", "length": 2}, ("outputs/prepared/hand/originality", str(Path.cwd().resolve() / "index")),
        )  # fmt: skip

    return make
