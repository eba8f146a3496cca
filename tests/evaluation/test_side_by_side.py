"""Many pieces read side by side: each token's nats are those of a loop over one window of one piece at a time."""

from functools import partial

import numpy as np
import pytest
import torch

from midifactory.evaluation import likelihood
from midifactory.evaluation.likelihood import latent_nats, token_nats
from midifactory.models.ensemble import Ensemble
from midifactory.models.frames import FrameTransformer
from midifactory.models.interface import Conditions
from midifactory.models.positions import POSITIONS
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer
from midifactory.models.vae import VAE
from midifactory.tokens.grid import VoiceGrid

VOCAB, CONTEXT = 29, 16
GRID = VoiceGrid()
LABELS = {"condition_sizes": (3, 4)}
TRANSFORMER = partial(Transformer, VOCAB, d_model=16, heads=2, layers=2, context=CONTEXT)
RECURRENT = partial(Recurrent, VOCAB, d_model=16, layers=2)
FRAMES = {"d_model": 16, "heads": 2, "layers": 1, "context": 256, "places": GRID.places()}
MODELS = {
    **{positions: partial(TRANSFORMER, positions=positions) for positions in POSITIONS},
    "llama": partial(TRANSFORMER, heads=4, kv_heads=2, norm="rms", feed_forward="swiglu", bias=False),
    "prefix": partial(TRANSFORMER, **LABELS, condition_mode="prefix"),
    "added": partial(TRANSFORMER, **LABELS),
    "experts": partial(TRANSFORMER, experts=4, capacity_factor=1.0),
    "lstm": partial(RECURRENT, cell="lstm"),
    "gru": partial(RECURRENT, cell="gru", **LABELS, condition_mode="prefix"),
    "lstm_attention": partial(RECURRENT, cell="lstm", attention_heads=2, attention_span=5),
    "frames": partial(FrameTransformer, GRID.vocab_size, **FRAMES),
    "ensemble": partial(
        Ensemble, VOCAB, "midifactory.models.recurrent.Recurrent", members=2, cell="gru", d_model=16, layers=1
    ),
}
VAES = {
    "vae": partial(VAE, VOCAB, encoder="gru", decoder="gru", d_model=16, latent_size=3),
    "vae_transformer": partial(VAE, VOCAB, d_model=16, heads=2, context=CONTEXT, latent_size=3, **LABELS),
}


def build(make):
    torch.manual_seed(0)
    model = make()
    for parameter in model.parameters():
        parameter.data.mul_(4.0)
    return model.eval()


def pieces_of(model, lengths=(30, 3, 17, 44, 2, 17, 9)):
    """BOS, then ids of any kind; of a grid of voices cells alone."""
    generator, first = np.random.default_rng(2), 3 if isinstance(model, FrameTransformer) else 1
    return [
        (str(index), np.concatenate([[1], generator.integers(first, model.vocab_size, length - 1)]))
        for index, length in enumerate(lengths)
    ]


def told_of(model, pieces):
    """Of all pieces but the third."""
    wanted = model.decoder.inputs if isinstance(model, VAE) else getattr(model, "inputs", None)
    if not getattr(wanted, "condition_tables", None):
        return {}
    return {name: Conditions(torch.tensor([[int(name) % 3, int(name) % 4]])) for name, _ in pieces if name != "2"}


@torch.no_grad()
def by_hand(model, ids, window, stride, conditions):
    """One window of one piece at a time, in double precision from the logits on."""
    size = len(ids) - 1
    span = size if model.context is None else min(window, model.context)
    keywords = {} if conditions is None else {"conditions": conditions}
    nats, scored, start = np.zeros(size), 0, 0
    while scored < size:
        end = min(start + span, size)
        logits = model(torch.from_numpy(ids[None, start:end]), **keywords).logits[0].double()
        picked = logits.log_softmax(-1)[range(end - start), ids[start + 1 : end + 1]]
        nats[scored:end] = -picked[scored - start :].numpy()
        scored, start = end, end - (span - stride)
    return nats


@pytest.fixture(params=["small", "large"])
def _sizes(request, monkeypatch):
    """Few tokens a call, and rows read in parts; and as in use."""
    if request.param == "small":
        for name, value in (("_BATCH_TOKENS", 40), ("_WHOLE", 12), ("_PART", 5)):
            monkeypatch.setattr(likelihood, name, value)


@pytest.mark.usefixtures("_sizes")
@pytest.mark.parametrize("name", MODELS)
def test_equals_a_loop(name):
    model = build(MODELS[name])
    pieces = pieces_of(model)
    told = told_of(model, pieces)
    counted = []
    for window, stride in ((CONTEXT, None), (10, 3), (7, 7)) if model.context else ((CONTEXT, None),):
        found = token_nats(model, pieces, window, stride, told, counted.append)
        for (piece, ids), nats in zip(pieces, found, strict=True):
            expected = by_hand(model, ids, window, stride or window - window // 2, told.get(piece))
            np.testing.assert_allclose(nats, expected, rtol=1e-5, atol=1e-5)
        assert sum(counted) == sum(len(ids) - 1 for _, ids in pieces)
        counted.clear()


@pytest.mark.usefixtures("_sizes")
@pytest.mark.parametrize("name", VAES)
def test_a_latents_segments_equal_a_loop(name):
    model = build(VAES[name])
    pieces = pieces_of(model)
    told = told_of(model, pieces)
    segments = [(piece, [ids[start : start + 9] for start in range(0, len(ids) - 1, 8)]) for piece, ids in pieces]
    for (piece, parts), (nats, divergence) in zip(segments, latent_nats(model, segments, told), strict=True):
        expected, costs = [], 0.0
        for ids in parts:
            with torch.no_grad():
                output = model(torch.from_numpy(ids[None, :-1]), conditions=told.get(piece))
            expected += (-output.logits[0].double().log_softmax(-1)[range(len(ids) - 1), ids[1:]]).tolist()
            costs += float(output.statistics["kl_nats"][0])
        np.testing.assert_allclose(nats, expected, rtol=1e-5, atol=1e-5)
        assert divergence == pytest.approx(costs, rel=1e-5)


def test_a_stride_beyond_the_window_is_refused():
    model = build(MODELS["rotary"])
    for stride in (0, CONTEXT + 1):
        with pytest.raises(ValueError, match=f"stride={stride}: a window of {CONTEXT}"):
            token_nats(model, pieces_of(model), CONTEXT, stride)
