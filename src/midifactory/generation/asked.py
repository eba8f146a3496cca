"""What is asked of a model, as the settings of conf/composing.yaml: checked, and made into what generation takes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from midifactory.data.conditions import LEVELS, ConditionCodec
from midifactory.errors import UserError
from midifactory.generation.copies import CopyGuard
from midifactory.generation.guide import Length
from midifactory.generation.pieces import Composition, check_best_by, composing, opening_of_style
from midifactory.generation.sampling import Sampling
from midifactory.generation.stream import Work
from midifactory.generation.styles import Opening, Style
from midifactory.generation.wishes import Wishes, bind_controls, bind_range, parse_wishes
from midifactory.models.interface import Conditions, SequenceModel
from midifactory.music.originality import Originality
from midifactory.targets import load_class
from midifactory.tokens.tokenizer import Tokenizer

DEFAULT_BARS = 8
# The least value of each; Sampling, Length and Engine know the limits of the others.
_WHOLE_NUMBERS = {
    **dict.fromkeys(("bars", "tokens", "prompt_bars", "prompt_notes", "num_samples", "polyphony", "best_of"), 1),
    "at_once": 1,
    **dict.fromkeys(("seed", "top_k"), 0),
    "window": 2,
}


class AskedModel(Protocol):
    """What asking needs of training.checkpoint.Trained."""

    model: SequenceModel
    tokenizer: Tokenizer
    window: int
    segment: dict[str, Any]
    profile: dict[str, Any]
    conditions: ConditionCodec | None


@dataclass(frozen=True)
class Asked:
    """What a model of tokens is to compose. lawful: by the grammar."""

    opening: Opening
    wishes: Wishes
    conditions: Conditions | None
    copies: CopyGuard | None
    lawful: bool

    def work(self, trained: AskedModel, settings: dict[str, Any]) -> Work[list[Composition]]:
        """The composing of it, in the model's own window."""
        return composing(
            trained,
            self.opening,
            self.wishes,
            Length(settings["bars"], settings["seconds"], settings["tokens"]),
            read_sampling(settings),
            settings["num_samples"],
            settings["seed"],
            settings["key_strength"],
            None,
            self.conditions,
            settings["guidance"],
            self.lawful,
            settings["best_of"],
            settings["best_by"],
            self.copies,
        )


def what_is_asked(
    trained: AskedModel,
    settings: dict[str, Any],
    originality: Originality | None = None,
    begin: Callable[[Wishes], Opening] | None = None,
    say: Callable[[str], None] = print,
) -> Asked:
    """What `settings` ask for. Raises UserError for what this model cannot do.

    originality: what must not be copied. begin: makes the opening, where it is not the style's. say: is told what may
    be asked of the model.
    """
    conditions = asked_conditions(trained, settings, say)
    wishes = parse_wishes(
        trained.profile, settings["key"], settings["tempo_bpm"], settings["metre"], settings["chords"]
    )
    wishes = bind_range(wishes, settings["pitch_range"], trained.tokenizer)
    wishes = bind_controls(wishes, settings, trained.tokenizer)
    lawful = settings["grammar"] and trained.tokenizer.has_grammar
    if not lawful:
        refuse_controls(settings, trained.tokenizer)
    copies = None
    if settings["max_copy_beats"] is not None and originality is not None:
        copies = CopyGuard(originality, trained.tokenizer, settings["max_copy_beats"])
    if begin is not None:
        opening = begin(wishes)
    else:
        opening = opening_of_style(build_style(settings["style"]), wishes, trained.tokenizer, lawful)
    return Asked(opening, wishes, conditions, copies, lawful)


def read_sampling(settings: dict[str, Any]) -> Sampling:
    """How tokens are drawn."""
    return Sampling(
        settings["temperature"], settings["top_k"], settings["top_p"], settings["min_p"], settings["typical_p"],
        settings["temperature_per_type"] or None,
    )  # fmt: skip


def refuse_controls(settings: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Raise UserError for what nobody could keep where no grammar is followed."""
    reason = tokenizer.without_grammar or "grammar=false"
    for name in ("instruments", "polyphony", "density", "rhythm_grid", "harmony", "max_copy_beats"):
        if settings[name] is not None:
            raise UserError(f"{name}={settings[name]}: nothing keeps to it without a grammar ({reason}); leave it out")
    if settings["repetition_penalty"] != 1:
        raise UserError(f"repetition_penalty={settings['repetition_penalty']} counts notes, which needs a grammar")


def check_numbers(settings: dict[str, Any]) -> None:
    """Raise UserError for a word or a fraction where a (whole) number is meant, and below the least one possible."""
    for name, least in _WHOLE_NUMBERS.items():
        value = settings[name]
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise UserError(f"{name}={value}: give a whole number of at least {least}")
    numbers = ("seconds", "temperature", "top_p", "min_p", "typical_p", "tempo_bpm", "key_strength", "guidance")
    for name in (*numbers, "density", "rhythm_grid", "harmony_strength", "repetition_penalty", "max_copy_beats"):
        value = settings[name]
        if name == "tempo_bpm" and str(value) in LEVELS:  # a number once the model is known
            continue
        if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
            raise UserError(f"{name}={value}: give a number")
    if settings["guidance"] is None or not 0 <= settings["guidance"] < math.inf:
        raise UserError(f"guidance={settings['guidance']}: give 0 or more; 1 follows the conditions as trained")
    check_best_by(settings["best_by"])
    for name in ("grammar", "int8"):
        if not isinstance(settings[name], bool):
            raise UserError(f"{name}={settings[name]}: give true or false")
    names = settings["instruments"]
    if names is not None and not (
        isinstance(names, list) and names and all(type(name) in (str, int) for name in names)
    ):
        raise UserError(f"instruments={names}: give names or programs, such as [piano,bass,drums]")
    per_type = settings["temperature_per_type"]
    if not isinstance(per_type, dict) or any(type(value) not in (int, float) for value in per_type.values()):
        raise UserError(f"temperature_per_type={per_type}: name a type, such as temperature_per_type.Pitch=0.9")
    pitches = settings["pitch_range"]
    if pitches is not None and not (isinstance(pitches, list) and all(type(pitch) is int for pitch in pitches)):
        raise UserError(f"pitch_range={pitches}: give the lowest and the highest MIDI pitch, such as [21,108]")


def asked_conditions(
    trained: AskedModel, settings: dict[str, Any], say: Callable[[str], None] = print
) -> Conditions | None:
    """What the model is told of each of the samples; None for one that takes nothing. Says what may be asked.

    Raises UserError for conditions or values that the model does not know, and for guidance without any condition.
    """
    asked = settings["conditions"]
    if not isinstance(asked, dict):
        raise UserError(f"conditions={asked}: name the condition, such as conditions.tune_type=jigs")
    asked = {name: value for name, value in asked.items() if value is not None}
    if settings["guidance"] != 1 and not asked:
        raise UserError(f"guidance={settings['guidance']} has nothing to follow; add conditions.NAME=VALUE")
    if trained.conditions is None:
        if asked:
            raise UserError(
                f"conditions.{min(asked)}: this model was trained without conditions; leave it out, or train one: "
                f'python train.py "conditions=[{",".join(asked)}]"'
            )
        return None
    if not set(asked) - {"bars"}:  # a length that is not typed is told, too
        say("\n  ".join(["this model may be asked for:", *trained.conditions.describe()]))
    labels = torch.from_numpy(trained.conditions.encode_wish(asked))  # (C,)
    return Conditions(labels.repeat(settings["num_samples"], 1))


def build_style(config: dict[str, Any]) -> Style:
    """The style of a conf/style file or of a replay. Raises UserError where it is none."""
    kind: Any = load_class(config["_target_"], Style, "style")
    try:
        return kind(**{key: value for key, value in config.items() if key != "_target_"})
    except TypeError as error:
        raise UserError(f"style: {error}") from error
