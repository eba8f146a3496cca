"""`midifactory attention`: what a model looks at is found at the right notes, and what cannot be drawn is told."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from attention_page import read_page
from cli.conftest import write_midi
from midifactory.cli.attention import read
from midifactory.errors import UserError
from midifactory.tokens.tokenizer import ONSET_TYPES
from midifactory.training.checkpoint import build_model
from schemes import SAYS, everything, learnt, tokenizer_of


class Staring:
    """One layer of two heads: the second always looks at one token, the first at itself."""

    context = None

    def __init__(self, look_at: int):
        self.look_at = look_at

    def attention_maps(self, ids, conditions=None):
        itself = torch.eye(ids.shape[1])
        there = itself.clone()
        there[self.look_at :] = itself[self.look_at]
        return [torch.stack((itself, there))[None]]


def trained(tokenizer, model, window=400):
    return SimpleNamespace(model=model, tokenizer=tokenizer, window=window, path="best.ckpt")


@pytest.mark.parametrize("scheme", list(SAYS))
def test_a_stare_is_found_at_its_note(scheme):
    tokenizer, score = tokenizer_of(scheme), everything()
    ids = tokenizer.encode(score).ids
    strikes = [index for index, i in enumerate(ids) if tokenizer.types[i] in ONSET_TYPES]
    look_at = strikes[5]
    attention = read(trained(tokenizer, Staring(look_at)), score)
    assert len(attention.tokens) == len(ids)
    assert attention.pitch[5] == int(tokenizer.tokens[ids[look_at]].partition("_")[2])
    assert attention.token_beats[look_at] == attention.onset_beats[5]
    received = attention.received()[0, 1]
    assert received.argmax() == 5
    assert received[5] >= (len(ids) - look_at) / len(ids)


def test_merged_tokens_point_to_all_their_notes():
    plain, merged, score = tokenizer_of("remi_plus"), learnt("remi_plus"), everything()
    attention = read(trained(merged, Staring(0)), score)
    assert len(attention.tokens) < len(plain.encode(score).ids)
    assert "+".join(plain.tokens[i] for i in plain.encode(score).ids) == "+".join(attention.tokens)
    for note, pitch in enumerate(attention.pitch):
        names = "+".join(attention.tokens[token] for token in attention.token[attention.note == note])
        assert f"_{pitch}+" in names + "+"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"positions": "relative", "attention_dropout": 0.1},
        {"positions": "alibi", "kv_heads": 2},
        {"positions": "sinusoidal", "norm": "rms", "feed_forward": "swiglu", "bias": False},
        {"positions": "learned", "experts": 2, "experts_per_token": 1},
        {"condition_sizes": (3, 4), "condition_mode": "prefix"},
        {"musical_embeddings": True},
    ],
    ids=str,
)
def test_every_transformer_can_be_drawn(options):
    tokenizer, score = tokenizer_of("remi_plus"), everything()
    torch.manual_seed(0)
    config = {"_target_": "midifactory.models.transformer.Transformer", "d_model": 32, "layers": 3, **options}
    model = build_model(config, tokenizer).eval()
    attention = read(trained(tokenizer, model), score)
    size = len(tokenizer.encode(score).ids)
    assert attention.weights.shape == (3, 4, size, size)
    assert (np.triu(attention.weights, 1) == 0).all()
    sums = attention.weights.sum(-1)
    assert sums.max() < 1 + 1e-5
    if not model.inputs.prefix_length:  # else a part of each row went there
        assert sums.min() > 1 - 1e-5


def test_bars_are_those_of_the_score(score_from):
    tokenizer = tokenizer_of("remi_plus")
    score = score_from([(0, [(beat, 1, 60 + beat % 12, 80) for beat in range(32)])])
    whole = read(trained(tokenizer, Staring(0)), score)
    assert (whole.first_bar, len(whole.bar_beats), len(whole.pitch)) == (1, 8, 32)
    part = read(trained(tokenizer, Staring(0)), score, start_bar=3, bars=2)
    assert (part.first_bar, part.bar_beats.tolist()) == (3, [8.0, 12.0])
    assert part.onset_beats.tolist() == list(range(8, 16))
    assert part.tokens[0] == "Bar_None"
    assert part.pitch.tolist() == whole.pitch[8:16].tolist()


def test_a_window_takes_whole_notes(score_from):
    tokenizer = tokenizer_of("remi_plus")
    score = score_from([(0, [(beat, 1, 60 + beat % 12, 80) for beat in range(32)])])
    for window in range(12, 40):
        attention = read(trained(tokenizer, Staring(0), window), score)
        assert window - 7 < len(attention.tokens) <= window
        assert attention.tokens[-1].startswith("Duration")
    assert len(read(trained(tokenizer, Staring(0)), score, most=20).tokens) <= 20


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start_bar": 9}, "the last note begins in bar 8"),
        ({"bars": 8, "most": 60}, "take bars=2"),
        ({"bars": 2, "most": 12}, "leave bars out"),
        ({"most": 2}, "raise tokens"),
    ],
)
def test_a_span_that_is_not_there_or_does_not_fit(score_from, changes, said):
    score = score_from([(0, [(beat, 1, 60, 80) for beat in range(32)])])
    with pytest.raises(UserError, match=said):
        read(trained(tokenizer_of("remi_plus"), Staring(0)), score, **changes)


def test_tracks_one_after_another_have_no_bars():
    with pytest.raises(UserError, match="MMM"):
        read(trained(tokenizer_of("mmm"), Staring(0)), everything(), bars=2)


def test_the_command_writes_a_page_and_pictures(in_studio, studio):
    write_midi(studio / "song = 1.mid", 99)
    done = in_studio("attention", "song = 1.mid", "bars=2", "checkpoint=outputs/train")
    if done.code:
        (run,) = (studio / "outputs" / "train").iterdir()
        done = in_studio("attention", "song = 1.mid", "bars=2", f"checkpoint={run}")
    assert done.code == 0, done
    run = sorted((studio / "outputs" / "attention").iterdir())[-1]
    assert {path.name for path in run.iterdir()} >= {"attention.html", "piano_rolls.png", "layer_01.png"}
    text, data, weights = read_page(run / "attention.html")
    assert "song = 1.mid" in text
    rows = weights.sum(-1)
    assert np.abs(rows - 1).max() < 0.1  # rounded to bytes
    assert len(data["notes"]) == 10
    assert str(run / "attention.html") in done.out


def test_mistakes_are_told_in_one_line(in_studio, studio, tmp_path):
    (tmp_path / "empty.mid").write_bytes(
        b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0MTrk\x00\x00\x00\x04\x00\xff/\x00"
    )
    for arguments, said in (
        ((), "type: midifactory attention FILE.mid"),
        (("nowhere.mid",), "no such file"),
        ((str(tmp_path / "empty.mid"),), "no notes"),
        ((str(studio / "my_midis" / "00.mid"), "start_bar=0"), "at least 1"),
        ((str(studio / "my_midis" / "00.mid"), "start_bar=99"), "start there or before"),
        ((str(studio / "my_midis" / "00.mid"), "bars=two"), "bars=two"),
    ):
        done = in_studio("attention", *arguments)
        assert done.code == 2, done
        assert said in done.message
        assert len(done.message.splitlines()) == 1


def test_a_model_without_attention():
    gru = SimpleNamespace(model=object(), tokenizer=tokenizer_of("remi_plus"), window=100, path="gru.ckpt")
    with pytest.raises(UserError, match="object has no attention maps; train with model=transformer"):
        read(gru, everything())
