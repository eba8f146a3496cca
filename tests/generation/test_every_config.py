"""Every model of conf/model with every tokenizer of conf/tokenizer, on the one engine: lawful, and each row its own.

The models are untrained and draw at temperature 2, so they propose nonsense; MidiTok's decoder and a count of note
groups are the oracles.
"""

from collections import Counter

import pytest
import torch
from hydra import compose as compose_config
from hydra import initialize_config_dir

from generation.conftest import PROFILES, Untrained
from midifactory.cli.building import plain
from midifactory.generation.guide import Length
from midifactory.generation.pieces import compose, opening_of_style
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free
from midifactory.generation.wishes import parse_wishes
from midifactory.paths import conf_dir
from midifactory.tokens.grid import VoiceGrid
from midifactory.training.checkpoint import build_model
from schemes import SAYS, tokenizer_of
from tokens.strolls import groups_of, notes_of, words_of

MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
TOKENIZERS = sorted({path.stem for path in (conf_dir() / "tokenizer").glob("*.yaml")} - {"notes"})
# A position of attention for each step of the voice grid.
ONLY_A_GRID = {"frames"}
CONTEXT, TOKENS = 64, 70


def untrained(model: str, tokenizer_name: str, *overrides: str) -> Untrained:
    tokenizer = tokenizer_of(tokenizer_name)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose_config("train", [f"model={model}", f"tokenizer={tokenizer_name}", *overrides])
    torch.manual_seed(0)
    built = build_model(plain(config.model), tokenizer).eval()
    return Untrained(built, tokenizer, config.data.max_tokens, {"unit": "seconds", "length": 16})


def test_frames_beyond_their_context_are_read_again_from_a_bar_line(monkeypatch):
    """A frame is four cells, a bar is sixteen frames: a row that began elsewhere would be read as other voices."""
    trained = untrained("frames", "voice_grid", "data.max_tokens=256")
    fed = []
    forward = type(trained.model).forward
    monkeypatch.setattr(
        type(trained.model),
        "forward",
        lambda self, ids, *rest: (fed.append(ids.tolist()[0]), forward(self, ids, *rest))[1],
    )
    wishes = parse_wishes(PROFILES["piano"], None, None, None, None)
    opening = opening_of_style(Free(), wishes, trained.tokenizer)
    (piece,) = compose(trained, opening, wishes, Length(tokens=600), Sampling(temperature=2.0))
    again = []
    for ids in fed:
        if len(ids) > 1:
            again += [start for start in range(600) if list(piece.ids[start : start + len(ids)]) == ids]
    assert len(again) == sum(len(ids) > 1 for ids in fed) > 3
    assert {(start - 1) % (4 * 16) for start in again} == {0}


def test_all_tokenizers_are_here():
    assert set(TOKENIZERS) == {*SAYS, "voice_grid"}


@pytest.mark.parametrize("tokenizer_name", TOKENIZERS)
@pytest.mark.parametrize("model_name", MODELS)
def test_what_an_untrained_model_says_is_lawful_and_each_row_its_own(model_name, tokenizer_name):
    if model_name in ONLY_A_GRID and tokenizer_name != "voice_grid":
        pytest.skip("cells of a grid alone")
    trained = untrained(model_name, tokenizer_name, f"data.max_tokens={CONTEXT}")
    tokenizer = trained.tokenizer
    wishes = parse_wishes(PROFILES["piano"], None, None, None, None)
    heard = Counter()

    def pieces(samples):
        opening = opening_of_style(Free(), wishes, tokenizer)
        sampling = Sampling(temperature=2.0)
        return compose(
            trained, opening, wishes, Length(tokens=TOKENS), sampling, samples, on_note=lambda n: heard.update([n.row])
        )

    (alone,) = pieces(1)
    heard.clear()
    both = pieces(2)
    assert both[0].ids == alone.ids
    assert both[0].ids != both[1].ids
    for number, piece in enumerate(both):
        ids = list(piece.ids)
        assert not {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id} & set(ids[1:])
        if isinstance(tokenizer, VoiceGrid):
            assert notes_of(tokenizer, tokenizer.encode(tokenizer.decode(ids)).ids) == notes_of(tokenizer, ids)
        else:
            assert groups_of(tokenizer, ids).total() == heard[number]
            # MidiTok ends what is still held; its velocity has been told.
            holds = "NoteOff" in tokenizer.types
            begun = sum(type_ == "Velocity" for type_, _ in words_of(tokenizer, ids)) if holds else heard[number]
            assert len(notes_of(tokenizer, ids)) == begun > 0
