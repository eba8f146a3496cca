"""Attributes that are typed at a composition: what the engine keeps to, and what the model is told.

A number or a name (density=6, bars=8, key="D minor") is kept to or steered towards with any model; one that was trained
with that attribute is told it, too, where it lies in what training showed. The words low, medium and high are only
told, and so are mean_pitch and note_length, which the engine knows nothing of: they are short for conditions.NAME=VALUE
and need a model that was trained with the attribute. A word for tempo_bpm is a number around that level, drawn by the
seed, and so it is kept to, too. conditions.density=6 tells, and steers nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from midifactory.data.conditions import LEVELS, ConditionCodec, Number
from midifactory.errors import UserError
from midifactory.music.attributes import UNITS
from midifactory.music.instruments import parse_instruments

TOLD_ONLY = ("mean_pitch", "note_length")
_TAKES_WORDS = ("density", "polyphony", "tempo_bpm")
# The attribute that a key of conf/composing.yaml is.
_ATTRIBUTE = {name: name for name in (*_TAKES_WORDS, "bars", "seconds", "metre", "key")} | {"instruments": "programs"}


class Told(Protocol):
    """What telling needs of training.checkpoint.Trained."""

    profile: dict[str, Any]
    conditions: ConditionCodec | None


def take_words(settings: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Move what is only told from the keys of `typed` (all of the command's) to the conditions of `settings`.

    A word for the tempo stays, for `tell_numbers` to make a number of. Raises UserError for an attribute that is given
    in both.
    """
    if not isinstance(settings["conditions"], dict):
        return  # for asked_conditions to refuse
    conditions = settings["conditions"] = dict(settings["conditions"])
    for name in (*_TAKES_WORDS, *TOLD_ONLY):
        value = typed.get(name)
        is_word = str(value).strip().casefold() in LEVELS
        if value is None or (name in _TAKES_WORDS and not is_word):
            continue
        if conditions.get(name) is not None:
            raise UserError(f"{name}={value} and conditions.{name}={conditions[name]}: they mean the same; give one")
        if name == "tempo_bpm":
            settings[name] = str(value).strip().casefold()
            continue
        conditions[name] = value
        if name in settings:
            settings[name] = None


def tell_numbers(settings: dict[str, Any], trained: Told, say: Callable[[str], None] = print) -> None:
    """Add to the conditions of `settings` what the engine is asked for, where the model knows it; says where not.

    What was told by name stays. With a prompt no length is told, since the music is longer than what is composed. A
    word for the tempo becomes a number, or for a model that was not told tempos what `asked_conditions` refuses.
    """
    codec = trained.conditions
    if not isinstance(settings["conditions"], dict):
        return
    if settings["tempo_bpm"] in LEVELS:
        word, settings["tempo_bpm"] = settings["tempo_bpm"], None
        if codec is not None and _measures(codec, "tempo_bpm"):
            settings["tempo_bpm"] = _drawn(codec, "tempo_bpm", word, settings["seed"], say)
        else:
            settings["conditions"]["tempo_bpm"] = word
    if codec is None:
        return
    for key, name in _ATTRIBUTE.items():
        value = settings[key]
        if value is None or settings["conditions"].get(name) is not None or not _measures(codec, name):
            continue
        if settings["prompt"] and key in ("bars", "seconds"):
            continue
        if key == "instruments":
            value = list(parse_instruments(value, [row["program"] for row in trained.profile["programs"]]))
        field = codec.fields[codec.names.index(name)]
        try:
            field.encode_wish(value)
        except UserError:
            say(f"{key}={settings[key]}: kept to, but the model is not told; it knows {field.describe()}")
        else:
            settings["conditions"][name] = value


def _drawn(codec: ConditionCodec, name: str, word: str, seed: int, say: Callable[[str], None]) -> float:
    """A number that a word stands for, a whole one where there is any."""
    field = codec.fields[codec.names.index(name)]
    assert isinstance(field, Number)
    low, high = field.around(word)
    drawn = float(np.random.default_rng(seed).uniform(low, high))
    value = float(round(drawn)) if low <= round(drawn) <= high else float(f"{drawn:.4g}")
    say(f"{name}={word}: {value:g}, drawn by the seed from {low:g} to {high:g}")
    return value


def _measures(codec: ConditionCodec, name: str) -> bool:
    """Whether the model knows the attribute in the measure of today."""
    if name not in codec.names:
        return False
    field = codec.fields[codec.names.index(name)]
    return not isinstance(field, Number) or field.unit == UNITS[name]
