"""Pictures of attention: what was planted is found at its note, and the page asks nothing of any network."""

import base64
import re

import numpy as np
import pytest

from attention_page import read_page
from midifactory.render.attention import Attention, pack, save_maps, save_page, save_rolls

SIZE = 9  # BOS, bar, two tokens for each of three notes, one for the next bar


def planted(look_at: int, layers: int = 2, heads: int = 2) -> Attention:
    """Uniform attention, but for the last layer's first head, where each position from `look_at` on looks there."""
    weights = np.tri(SIZE, dtype=np.float32) / np.arange(1, SIZE + 1, dtype=np.float32)[:, None]
    weights = np.tile(weights, (layers, heads, 1, 1))
    weights[-1, 0] = np.eye(SIZE)
    weights[-1, 0, look_at:] = np.eye(SIZE)[look_at]
    return Attention(
        weights=weights,
        tokens=["BOS", "Bar", "Pitch_60", "Velocity_80", "Pitch_64", "Velocity_80", "Bar", "Pitch_67", "Velocity_80"],
        onset_beats=np.array([0.0, 2.0, 4.0]),
        duration_beats=np.array([2.0, 2.0, 4.0]),
        pitch=np.array([60, 64, 67]),
        program=np.array([0, 0, -1]),
        token=np.array([2, 3, 4, 5, 7, 8]),
        note=np.array([0, 0, 1, 1, 2, 2]),
        bar_beats=np.array([0.0, 4.0]),
        first_bar=1,
    )


def test_a_planted_look_shows_at_its_note():
    attention = planted(look_at=4)
    received = attention.received()
    assert received.shape == (2, 2, 3)
    # Positions 4 to 8 look at token 4, of the second note; 2 and 3, of the first, at themselves; so does 0 and 1.
    assert received[-1, 0].tolist() == pytest.approx([2 / 9, 5 / 9, 0])
    naive = np.zeros(3)
    for token, note in zip(attention.token, attention.note, strict=True):
        naive[note] += sum(attention.weights[0, 1, row, token] for row in range(SIZE)) / SIZE
    assert received[0, 1] == pytest.approx(naive)


def test_a_token_of_two_notes_is_divided():
    attention = planted(look_at=4)
    both = Attention(**{**vars(attention), "token": np.array([2, 3, 4, 4, 8]), "note": np.array([0, 0, 0, 1, 2])})
    assert both.shares[4].tolist() == [0.5, 0.5, 0]
    assert both.received()[-1, 0].tolist() == pytest.approx([2 / 9 + 2.5 / 9, 2.5 / 9, 0])
    assert both.token_beats[4] == 0.0


def test_tokens_of_no_note_stand_at_the_next_one():
    assert planted(look_at=4).token_beats.tolist() == [0, 0, 0, 0, 2, 2, 4, 4, 4]


def test_the_page_holds_the_weights(tmp_path):
    attention = planted(look_at=4)
    save_page(tmp_path / "page.html", attention, "song.mid", "nine tokens")
    _, data, weights = read_page(tmp_path / "page.html")
    assert (weights[-1, 0, 4:].argmax(1) == 4).all()
    assert np.abs(weights - attention.weights).max() < 0.004
    assert [note for token, note in data["pairs"] if token == 4] == [1]
    assert data["notes"][1] == [2.0, 2.0, 64, 0]
    assert (data["bars"], data["firstBar"]) == ([0.0, 4.0], 1)


def test_small_shares_keep_apart():
    weights = np.zeros((1, 1, 3, 3), dtype=np.float32)
    weights[0, 0, 2] = (0.001, 0.002, 0.997)
    one, other = np.frombuffer(base64.b64decode(pack(weights)), dtype=np.uint8)[3:5]
    assert 0 < one < other


def test_the_page_asks_nothing_of_a_network_and_runs_no_name(tmp_path):
    attention = planted(look_at=4)
    hostile = "</script><script>alert('x')</script>{{ 7 * 7 }}\udcff<!--"
    named = Attention(**{**vars(attention), "tokens": [hostile, *attention.tokens[1:]]})
    save_page(tmp_path / "page.html", named, hostile, hostile)
    text, data, _ = read_page(tmp_path / "page.html")
    assert not re.search(r"https?:|//[a-z]|\bsrc=|\bhref=|\bimport\b|fetch\(|url\(", text)
    assert "default-src 'none'" in text
    assert text.count("<script") == text.count("</script>") == 3
    assert data["tokens"][0] == hostile
    assert "{{ 7 * 7 }}" in text


def test_the_size_of_a_page(tmp_path):
    """512 tokens, 4 layers of 4 heads: below 10 MB."""
    size = 512
    weights = np.full((4, 4, size, size), 1 / size, dtype=np.float32)
    notes = np.arange(size)
    attention = Attention(
        weights, ["Pitch_60"] * size, notes / 2, np.ones(size), 40 + notes % 40, notes * 0, notes, notes,
        np.arange(0, size / 2, 4), 1,
    )  # fmt: skip
    save_page(tmp_path / "page.html", attention, "song", "")
    assert (tmp_path / "page.html").stat().st_size < 4e6


def test_pictures_are_drawn_and_always_the_same(tmp_path):
    attention = planted(look_at=4, heads=5)
    for name in ("one", "two"):
        save_maps(tmp_path / f"{name}_map.png", attention, 1)
        save_rolls(tmp_path / f"{name}_roll.png", attention)
    for kind in ("map", "roll"):
        one = (tmp_path / f"one_{kind}.png").read_bytes()
        assert one.startswith(b"\x89PNG")
        assert one == (tmp_path / f"two_{kind}.png").read_bytes()
    save_maps(tmp_path / "other.png", attention, 0)
    assert (tmp_path / "other.png").read_bytes() != (tmp_path / "one_map.png").read_bytes()
