"""A server in this process, with an untrained tiny transformer: what holds with it holds with every model."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi import FastAPI
from starlette.testclient import TestClient

from midifactory.generation.styles import Free
from midifactory.models.transformer import Transformer
from midifactory.serve.app import Options, create_app
from midifactory.serve.asking import Style
from midifactory.serve.reading import Reader
from midifactory.serve.shelf import Limits, Shelf
from midifactory.training.checkpoint import Trained
from schemes import make_score, tokenizer_of

WINDOW = 512
PROFILE: dict[str, Any] = {
    "tempo_bpm": 100.0,
    "metre": "4/4",
    "velocity": 70,
    "programs": [
        {"program": p, "share": 0.25, "lowest": m - 12, "middle": m, "highest": m + 12}
        for p, m in ((0, 60), (33, 40), (40, 70))
    ],
}
STYLES = {
    "chords": Style(
        "One chord a bar.",
        {"_target_": "midifactory.generation.styles.Chords", "chords": "I V vi IV", "minor_chords": None},
    ),
    "free": Style("The model starts by itself.", {"_target_": f"{Free.__module__}.Free"}),
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def trained() -> Trained:
    """A model that infills, continues and composes, all of it badly."""
    tokenizer = tokenizer_of("remi_plus").with_infill()
    torch.manual_seed(0)
    model = Transformer(tokenizer.vocab_size, d_model=16, heads=2, layers=1, context=WINDOW)
    return Trained(model.eval(), tokenizer, WINDOW, PROFILE, "none", Path("none.ckpt"), "0" * 64)


@pytest.fixture(scope="session")
def make_app(trained: Trained) -> Callable[..., FastAPI]:
    """Makes an application: limits as keywords, and `options` and `models` beside them."""

    def make(options: dict[str, Any] | None = None, models: tuple[str, ...] = ("tiny",), **limits: Any) -> FastAPI:
        given = Limits(**{"seconds": 600.0, **limits})
        shelf = Shelf([(name, lambda: trained) for name in models], given)
        return create_app(shelf, STYLES, Options(given, **(options or {})), Reader(workers=0))

    return make


@pytest.fixture(scope="session")
def client(make_app: Callable[..., FastAPI]) -> Iterator[TestClient]:
    """A client of a server with usual limits."""
    with TestClient(make_app()) as client:
        yield client


@pytest.fixture(scope="session")
def song() -> bytes:
    """Four bars of a piano and a bass."""
    right = [(beat, 1, 60 + beat * 5 % 12, 80) for beat in range(16)]
    left = [(2 * i, 2, 36 + i % 5, 64) for i in range(8)]
    score = make_score([(0, right), (33, left)], tempos=((0, 100),))
    for track, name in zip(score.tracks, ("Right", "Bass"), strict=True):
        track.name = name
    return score.dumps_midi()
