"""An untrained tiny transformer behind the real tokenizer, and the profiles of two small corpora."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from midifactory.models.interface import SequenceModel
from midifactory.models.transformer import Transformer
from midifactory.tokens.tokenizer import Tokenizer


@dataclass
class Untrained:
    """What generation needs of a trained model, without the training."""

    model: SequenceModel
    tokenizer: Tokenizer
    window: int
    segment: dict[str, Any] = field(default_factory=dict)


def _profile(programs: list[tuple[int, float, int, int, int]]) -> dict[str, Any]:
    names = ("program", "share", "lowest", "middle", "highest")
    rows = [dict(zip(names, row, strict=True)) for row in programs]
    return {"tempo_bpm": 100.0, "metre": "4/4", "velocity": 70, "programs": rows}


PROFILES = {
    "piano": _profile([(0, 1.0, 40, 62, 84)]),
    "four_voices": _profile(
        [(73, 0.25, 62, 71, 76), (68, 0.25, 57, 65, 71), (71, 0.25, 50, 58, 64), (70, 0.25, 40, 50, 58)]
    ),
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small lose more by torch's threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=list(PROFILES))
def profile(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each corpus profile in turn."""
    return PROFILES[request.param]


@pytest.fixture(scope="session")
def piano() -> dict[str, Any]:
    """The profile of a corpus of piano music."""
    return PROFILES["piano"]


@pytest.fixture(scope="session")
def untrained(tokenizer: Tokenizer) -> Untrained:
    """A tiny transformer with random weights: it proposes anything, so what holds here holds for every model."""
    torch.manual_seed(0)
    model = Transformer(tokenizer.vocab_size, d_model=16, heads=2, layers=1, context=512)
    return Untrained(model.eval(), tokenizer, 512)
