"""The native step. Oracles: the same model without it; rows alone; one thread."""

import threading
from functools import partial

import pytest
import torch

from midifactory.models import native
from midifactory.models.positions import POSITIONS
from midifactory.models.quantise import quantise
from midifactory.models.transformer import Transformer

pytestmark = pytest.mark.skipif(native._library() is None, reason="there is no C compiler")
VOCAB, CONTEXT = 45, 90
SMALL = partial(Transformer, VOCAB, d_model=24, heads=4, layers=2, context=CONTEXT)
MODELS = {
    **{positions: partial(SMALL, positions=positions) for positions in POSITIONS},
    "near": partial(SMALL, positions="relative", max_distance=5, kv_heads=2),
    "llama": partial(SMALL, kv_heads=2, norm="rms", feed_forward="swiglu", bias=False),
    "gated": partial(SMALL, kv_heads=1, feed_forward="swiglu", positions="alibi"),
    "wide": partial(SMALL, d_model=200, heads=5, d_ff=333),
    "prefix": partial(SMALL, condition_sizes=(3, 4), condition_mode="prefix", tie_embeddings=False),
}


def build(name: str) -> Transformer:
    torch.manual_seed(0)
    model = MODELS[name]()
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def random_ids(*shape: int) -> torch.Tensor:
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(1))


def decode(model, ids: torch.Tensor, prompt: int = 3) -> torch.Tensor:
    """Logits of the tokens after the prompt, one at a time."""
    state = model.new_state(len(ids), CONTEXT)
    model(ids[:, :prompt], state)
    return torch.cat([model(token, state).logits for token in ids[:, prompt:].split(1, 1)], 1)


@torch.inference_mode()
@pytest.mark.parametrize("rows", [1, 3, 11])
@pytest.mark.parametrize("name", list(MODELS))
def test_its_logits_are_those_of_torchs_operations(monkeypatch, name, rows):
    model, ids = build(name), random_ids(rows, CONTEXT)
    assert model.new_state(1, CONTEXT).native is not None
    ours = decode(model, ids)
    monkeypatch.setattr(native, "_library", lambda: None)
    assert model.new_state(1, CONTEXT).native is None
    for expected in (decode(model, ids), model(ids).logits[:, 3:]):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4 * expected.std().item())


@torch.inference_mode()
@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("name", ["rotary", "llama", "near"])
def test_a_rows_bits_depend_neither_on_its_neighbours_nor_on_threads(name, quantised):
    model, ids = build(name), random_ids(13, 60)
    model = quantise(model) if quantised else model
    alone, states = [], []
    for index, row in enumerate(ids):
        alone.append(decode(model, row[None, : 43 + index], 3 + index))
        states.append(model.new_state(1, CONTEXT))
        model(row[None, : 3 + index], states[-1])
    together = states[0]
    for other in states[1:]:
        together.join(other)
    for step in range(40):
        torch.set_num_threads(1 + step % 3)
        tokens = torch.stack([row[3 + index + step] for index, row in enumerate(ids)])[:, None]
        logits = model(tokens, together).logits
        assert torch.equal(logits[:, 0], torch.cat([row[:, step] for row in alone]))


@torch.inference_mode()
def test_weights_that_changed_are_packed_anew_and_others_are_not():
    model, ids = build("rotary"), random_ids(2, 20)
    first = model.new_state(1, CONTEXT).native
    assert model.new_state(1, CONTEXT).native is first
    decode(model, ids)
    model.get_parameter("blocks.1.feed_forward.rise.weight").data.mul_(0.5)
    torch.testing.assert_close(decode(model, ids), model(ids).logits[:, 3:], rtol=1e-4, atol=1e-4)
    model.load_state_dict({name: -weights for name, weights in model.state_dict().items()})
    torch.testing.assert_close(decode(model, ids), model(ids).logits[:, 3:], rtol=1e-4, atol=1e-4)
    assert model.new_state(1, CONTEXT).native is not first


def test_threads_may_decode_with_one_model_at_a_time():
    model, ids, found = build("wide"), random_ids(4, CONTEXT), {}

    @torch.inference_mode()
    def run(index: int) -> None:
        found[index] = decode(model, ids[index : index + 1])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(4):
        together = dict(found)[index]
        run(index)
        assert torch.equal(together, found[index])


@torch.inference_mode()
def test_what_it_cannot_do_is_left_to_torch(monkeypatch, tmp_path):
    assert SMALL(experts=2).eval().new_state(1, 8).native is None
    assert build("rotary").bfloat16().new_state(1, 8).native is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for compiler in ("false", "a-compiler-that-is-not-there"):
        monkeypatch.setenv("CC", compiler)
        assert native._library.__wrapped__() is None
    assert list(tmp_path.rglob("*.so")) == []


def test_it_is_compiled_once_and_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native._library.__wrapped__() is not None
    made = [(path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")]
    assert native._library.__wrapped__() is not None
    assert [(path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")] == made
    assert len([path for path, _ in made if path.suffix == ".so"]) == 1
