"""A checkpoint may name models and nothing else."""

import pytest

from midifactory.errors import UserError
from midifactory.models.interface import SequenceModel
from midifactory.models.transformer import Transformer
from midifactory.targets import load_class


def test_a_class_of_the_kind_is_found():
    assert load_class("midifactory.models.transformer.Transformer", SequenceModel, "model") is Transformer


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.nn.Linear",
        "midifactory.models.interface.dropout",
        "midifactory.models.transformer.Nothing",
        "no_such_package.Model",
        "Transformer",
        ".Transformer",
        "",
        "midifactory.models..Transformer",
    ],
)
def test_anything_else_is_an_error_that_names_the_key_and_the_target(target):
    with pytest.raises(UserError) as error:
        load_class(target, SequenceModel, "model")
    assert f"model._target_={target}" in str(error.value)
