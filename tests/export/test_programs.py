"""A program says what its model says: as a function, in ONNX Runtime and out of torch.export's file."""

import json

import pytest
import torch

from midifactory.errors import UserError
from midifactory.export.program import load_program, make_program, save_program
from midifactory.export.running import Layout, ProgramModel
from midifactory.generation.engine import Engine, Free, Row
from midifactory.generation.sampling import Sampling
from midifactory.models.ensemble import Ensemble
from midifactory.models.interface import Conditions
from midifactory.models.quantise import quantise
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer
from midifactory.models.vae import VAE
from midifactory.training.checkpoint_folder import read_weights

RECURRENT = "midifactory.models.recurrent.Recurrent"
V = 23


class Places:
    """Counts what it has read, so that a wrong state shows."""

    sizes = (5, 3)

    def start(self):
        return [0]

    def read(self, ids, states):
        rows = []
        for row, state in zip(ids.tolist(), states, strict=True):
            for token in row:
                state[0] += token
                rows.append([state[0] % 5, state[0] % 3])
        return torch.tensor(rows).view(*ids.shape, 2)


def transformer(**keywords):
    return Transformer(V, **{"d_model": 16, "heads": 4, "layers": 2, "context": 32, **keywords})


def recurrent(**keywords):
    return Recurrent(V, **{"d_model": 12, "layers": 2, **keywords})


PREFIX = {"condition_sizes": [3, 4], "condition_mode": "prefix"}
MODELS = {
    "rotary": transformer,
    "relative": lambda: transformer(positions="relative", max_distance=6, kv_heads=2),
    "alibi": lambda: transformer(
        positions="alibi", norm="rms", feed_forward="swiglu", bias=False, tie_embeddings=False
    ),
    "sinusoidal": lambda: transformer(positions="sinusoidal", places=Places()),
    "learned": lambda: transformer(positions="learned", places=Places(), **PREFIX),
    "none": lambda: transformer(positions="none", condition_sizes=[3, 4]),
    "rotary after a prefix": lambda: transformer(kv_heads=1, **PREFIX),
    "experts": lambda: transformer(experts=4),
    "lstm": recurrent,
    "gru": lambda: recurrent(cell="gru", hidden=20, places=Places(), **PREFIX),
    "lstm with attention": lambda: recurrent(attention_heads=2, attention_span=6, condition_sizes=[3, 4]),
}


@pytest.fixture(params=list(MODELS))
def pair(request):
    """A model, and its program behind the same interface."""
    torch.manual_seed(0)
    model = MODELS[request.param]().eval()
    for parameter in model.parameters():
        parameter.data.mul_(3.0)
    program = make_program(model)
    reader = Places() if program.layout.place_features else None
    layout = Layout.from_json(json.loads(json.dumps(program.layout.to_json())))
    return model, ProgramModel(layout, lambda inputs: list(program(**inputs)), reader).eval()


@torch.no_grad()
def test_a_program_is_its_model_whoever_comes_and_goes(pair):
    """Padded prompts, single tokens, rows that leave and change places, rows that join, rows without a state."""
    model, _ = pair
    conditioned = bool(len(model.inputs.condition_tables))
    takes_padding = model.context is not None
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randint(1, V, shape, generator=generator)

    def ask(ids, labels, states=(None, None), last=False):
        told = Conditions(labels) if conditioned else None
        one, other = (whole(ids, state, told).logits for whole, state in zip(pair, states, strict=True))
        torch.testing.assert_close(*((part[:, -1] if last else part) for part in (one, other)), rtol=1e-4, atol=1e-4)

    padding = torch.tensor([0, 2, 3]) if takes_padding else None
    states = [whole.new_state(3, 25, padding) for whole in pair]
    labels = torch.tensor([[1, 2], [0, 3], [2, 0]])
    first = draw(3, 7)
    for row, count in enumerate([0, 2, 3] if takes_padding else []):
        first[row, :count] = 0
    ask(first, labels, states, last=True)  # the logits of padding are nobody's
    for new in (1, 1, 2):
        ask(draw(3, new), labels, states)
    for state in states:
        state.select([2, 0])
    ask(draw(2, 3), labels[[2, 0]], states)
    fresh = [whole.new_state(2, 25) for whole in pair]
    ask(draw(2, 3), labels[:2], fresh)
    for state, joining in zip(states, fresh, strict=True):
        state.join(joining)
    together = torch.cat((labels[[2, 0]], labels[:2]))
    for _ in range(3):
        ask(draw(4, 1), together, states)
    for state in states:
        state.select([3, 3, 1])
    ask(draw(3, 1), together[[3, 3, 1]], states)
    ask(draw(2, 9), labels[:2])


def test_limits_are_those_of_the_model():
    program = ProgramModel(make_program(transformer()).layout, lambda _: [])
    with pytest.raises(ValueError, match="33 tokens exceed the context of 32"):
        program.new_state(1, 33)
    with pytest.raises(ValueError, match="40 tokens exceed the context of 32"):
        program(torch.ones(1, 40, dtype=torch.int64))
    with pytest.raises(ValueError, match="2 labels a row, but the model was made for 0"):
        program(torch.ones(1, 4, dtype=torch.int64), None, Conditions(torch.zeros(1, 2, dtype=torch.int64)))
    with pytest.raises(ValueError, match="cannot ignore padding"):
        ProgramModel(make_program(recurrent()).layout, lambda _: []).new_state(1, 8, torch.tensor([1]))
    state = program.new_state(1, 8)
    with pytest.raises(ValueError, match="read nothing"):
        state.join(program.new_state(1, 8))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VAE(V, d_model=8, heads=2, latent_size=4), "VAE cannot be exported as a function: it decodes"),
        (lambda: Ensemble(V, "midifactory.models.recurrent.Recurrent", 2, d_model=8), "Ensemble.*several models"),
        (lambda: transformer(latent_size=4), "latent_size"),
        (lambda: quantise(transformer()), "int8=true"),
    ],
)  # fmt: skip
def test_what_is_no_function_is_refused_with_the_reason(make, words):
    with pytest.raises(UserError, match=words) as caught:
        make_program(make())
    assert "\n" not in str(caught.value)


def greedy(trained, rows, count):
    engine = Engine(trained.model, 400)
    prompts = [[1, 5 + row] for row in range(rows)]
    return engine.run([Row(prompt, Free(count), Sampling(temperature=0.0)) for prompt in prompts])


EXPORTED = {
    "transformer": {"context": 256},
    "grouped, relative, gated": {
        "context": 256, "positions": "relative", "kv_heads": 1, "norm": "rms", "feed_forward": "swiglu",
        "musical_embeddings": True,
    },
    "lstm with attention": {"target": RECURRENT, "attention_heads": 2, "attention_span": 16},
    "gru": {"target": RECURRENT, "cell": "gru"},
    "alibi, experts": {"context": 256, "positions": "alibi", "experts": 2, "norm": "rms", "feed_forward": "swiglu"},
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if index > 1 else []) for index, name in enumerate(EXPORTED)]
)
@torch.no_grad()
def test_onnx_runtime_decodes_the_same_tokens(new_trained, tmp_path, name):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from midifactory.export.onnx import load_onnx, save_onnx

    trained = new_trained(**EXPORTED[name])
    folder, apart = save_onnx(trained, tmp_path / "onnx")
    assert apart <= 1e-4
    onnx.checker.check_model(str(folder / "model.onnx"))
    other = load_onnx(folder)
    for rows in (1, 3):
        assert greedy(other, rows, 200) == greedy(trained, rows, 200)
    ids = torch.randint(1, trained.tokenizer.vocab_size, (2, 60))
    torch.testing.assert_close(other.model(ids).logits, trained.model(ids).logits, rtol=0, atol=1e-4)
    assert other.tokenizer.fingerprint == trained.tokenizer.fingerprint
    assert other.profile == trained.profile
    with pytest.raises(UserError, match=r"is an export for ONNX Runtime: .*engine=onnx"):
        read_weights(folder)
    with pytest.raises(UserError, match=r"holds no model\.pt2; make one: .*format=torch_export"):
        load_program(folder)
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"damaged: model\.onnx has"):
        load_onnx(folder)


@torch.no_grad()
def test_torch_export_gives_the_same_logits(new_trained, tmp_path):
    trained = new_trained(**EXPORTED["transformer"])
    folder = save_program(trained, tmp_path / "program")
    module = torch.export.load(folder / "model.pt2").module()
    layout = Layout.from_json(json.loads((folder / "config.json").read_text())["program"])
    program = make_program(trained.model)
    for rows, past, new in ((1, 0, 1), (1, 7, 1), (2, 0, 30), (4, 9, 3)):
        columns = torch.arange(past + new).expand(rows, -1)
        inputs = layout.empty(rows) | {"ids": torch.randint(1, V, (rows, new))}
        layers, heads, size = layout.past
        inputs |= {"past_positions": columns[:, :past], "positions": columns[:, past:]}
        inputs["past"] = torch.randn(layers, 2, rows, heads, past, size)
        inputs = {key: inputs[key] for key in layout.inputs}
        for found, expected in zip(module(**inputs), program(**inputs), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert greedy(load_program(folder), 2, 20) == greedy(trained, 2, 20)
    with pytest.raises(UserError, match=r"format=torch_export: .* a recurrent layer's steps .*; use format=onnx"):
        save_program(new_trained(target=RECURRENT), tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(UserError, match=r"is a program for torch\.export\.load"):
        read_weights(folder)
