"""What a model is told of held-out pieces: the labels of their corpus, and nothing that their own notes say."""

from types import SimpleNamespace

import numpy as np
import pytest

from midifactory.cli.held_out import told_of_pieces
from midifactory.data.conditions import ConditionCodec, Label, Number

CODEC = ConditionCodec((Number("density", (2.0,), 1.0, 4.0, (1.5, 2.0, 3.0)), Label("composer", ("Bach", "Finck"))))


@pytest.mark.parametrize(("attributes", "expected"), [(False, [[0, 2]]), (True, [[1, 2]])])
def test_attributes_of_a_piece_are_told_only_where_they_are_asked(attributes, expected):
    ids = np.array([1, 2])
    data = SimpleNamespace(condition_codec=CODEC, measured_conditions=("density",), conditions={"piece": ids})
    assert told_of_pieces(data, attributes)["piece"].labels.tolist() == expected
    assert ids.tolist() == [1, 2]


def test_without_conditions_nothing_is_told():
    assert told_of_pieces(SimpleNamespace(condition_codec=None, measured_conditions=(), conditions={})) == {}
