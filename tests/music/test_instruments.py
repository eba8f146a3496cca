"""Names of instruments against the General MIDI standard's own numbers."""

import pytest

from midifactory.errors import UserError
from midifactory.music.instruments import parse_instruments


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("Acoustic Grand Piano", 0), ("piano", 0), ("violin", 40), ("Violin", 40), ("trumpet", 56), ("flute", 73),
        ("bass", 32), ("guitar", 24), ("drums", -1), (-1, -1), (127, 127), ("electric bass (finger)", 33),
    ],
)  # fmt: skip
def test_a_name_is_its_general_midi_program(name, program):
    assert parse_instruments([name]) == (program,)


def test_of_several_the_one_that_the_model_knows_is_meant():
    assert parse_instruments(["bass", "piano"], preferred=[5, 38, 0]) == (38, 5)


def test_equal_instruments_count_once():
    assert parse_instruments(["piano", 0, "Acoustic Grand Piano"]) == (0,)


@pytest.mark.parametrize(("name", "near"), [("pianola", "piano"), ("vioin", "violin"), ("", ""), (128, "0 to 127")])
def test_others_are_refused_with_the_nearest(name, near):
    with pytest.raises(UserError, match=near):
        parse_instruments([name])
