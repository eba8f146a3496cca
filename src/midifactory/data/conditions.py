"""What the music is like, as ids that a model is told: labels of its corpus, and attributes of its own notes.

Legend: C conditions.
"""

import difflib
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from midifactory.errors import UserError
from midifactory.music.attributes import NAMES, UNITS, key_name, programs_text
from midifactory.music.corpora import Corpus

NOT_GIVEN = 0
LEVELS = {"low": 1 / 6, "medium": 1 / 2, "high": 5 / 6}  # the middles of the lower, middle and upper third
_VALUES_LISTED = 20  # of a label, in an error of one line


@dataclass(frozen=True)
class Label:
    """A condition with a value of its own for each of `values`: the first has id 1."""

    name: str
    values: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of ids, NOT_GIVEN included."""
        return len(self.values) + 1

    def encode(self, value: Any) -> int:
        """The id of a piece's value; NOT_GIVEN for one that training did not have."""
        return self.values.index(value) + 1 if value in self.values else NOT_GIVEN

    def encode_wish(self, value: Any) -> int:
        """The id of what a user typed, in any case of letters. Raises UserError with the values that there are."""
        text = str(value).strip()
        if self.name == "programs":
            text = programs_text(map(int, re.findall(r"-?\d+", text)))
        elif self.name == "key" and text not in self.values:
            text = key_name(text) or text
        if text not in self.values:
            alike = [known for known in self.values if known.casefold() == text.casefold()]
            if len(alike) != 1:
                listed, more = ", ".join(self.values[:_VALUES_LISTED]), len(self.values) - _VALUES_LISTED
                rest = f" and {more} more (generate without conditions lists all)" if more > 0 else ""
                near = difflib.get_close_matches(text, self.values, n=1, cutoff=0.0)[0]
                raise UserError(f"conditions.{self.name}={value}: this model knows {listed}{rest}; nearest: {near}")
            text = alike[0]
        return self.values.index(text) + 1

    def describe(self) -> str:
        """What may be asked."""
        return ", ".join(self.values)

    def describe_id(self, number: int) -> str:
        """The value of id `number`."""
        return self.values[number - 1]


@dataclass(frozen=True)
class Number:
    """A condition of ranges: id 1 is below edges[0], id 2 from there to below edges[1], and so on.

    lowest, highest: of the training pieces or segments. levels: the numbers that low, medium and high stand for.
    unit: of an attribute; a checkpoint without one was told other measures, of whole pieces.
    """

    name: str
    edges: tuple[float, ...]
    lowest: float
    highest: float
    levels: tuple[float, ...]
    unit: str = ""

    @property
    def size(self) -> int:
        """Number of ids, NOT_GIVEN included."""
        return len(self.edges) + 2

    def shows(self, value: float) -> bool:
        """Whether training showed numbers as small and as great as this one."""
        return self.lowest <= value <= self.highest

    def around(self, word: str) -> tuple[float, float]:
        """From where to where numbers are nearest to the level `word`, as far outwards as inwards of the outer ones.

        Never beyond what training showed.
        """
        low, medium, high = self.levels
        first, second = (low + medium) / 2, (medium + high) / 2
        ends = {
            "low": (max(self.lowest, 2 * low - first), first),
            "medium": (first, second),
            "high": (second, min(self.highest, 2 * high - second)),
        }
        return ends[word]

    def encode(self, value: Any) -> int:
        """The id of a piece's value; NOT_GIVEN for none."""
        number = as_number(value)
        return NOT_GIVEN if number is None else bisect_right(self.edges, number) + 1

    def encode_wish(self, value: Any) -> int:
        """The id of a number or of low, medium, high. Raises UserError outside of what training showed."""
        levels = dict(zip(LEVELS, self.levels, strict=True))
        number = levels.get(str(value).strip().casefold(), as_number(value))
        if number is None or not self.shows(number):
            raise UserError(f"conditions.{self.name}={value}: give {self.describe()}")
        return bisect_right(self.edges, number) + 1

    def describe(self) -> str:
        """What may be asked."""
        levels = ", ".join(f"{word} ({level:g})" for word, level in zip(LEVELS, self.levels, strict=True))
        unit = f", in {self.unit}" if self.unit else ""
        return f"a number from {self.lowest:g} to {self.highest:g}, or {levels}{unit}"

    def describe_id(self, number: int) -> str:
        """The range of id `number`; its upper end belongs to the next one."""
        low, high = (self.lowest, *self.edges)[number - 1], (*self.edges, self.highest)[number - 1]
        return f"{low:g}-{high:g}" if low < high else f"{low:g}"


@dataclass(frozen=True)
class ConditionCodec:
    """The conditions of a model, in the order of its embedding tables: values to ids, NOT_GIVEN where there is none."""

    fields: tuple[Label | Number, ...]

    @classmethod
    def fit(
        cls,
        names: Sequence[str],
        pieces: Sequence[Mapping[str, Any]],
        bins: int = 8,
        most_values: int = 100,
        measured: Mapping[str, Sequence[Any]] | None = None,
    ) -> "ConditionCodec":
        """The conditions `names` from the labels of the training pieces and what their segments `measured`, by name.

        Numbers, and labels of nothing but more than `bins` different numbers, become up to `bins` ranges of about as
        many pieces (or segments) each; equal edges are one. Other labels keep their `most_values` most frequent values
        of those that at least two have, since a value of one piece only teaches that piece by heart; all others count
        as not given. Raises UserError for a name that is given twice, that none has a value for, or by which none can
        be told apart.
        """
        check_names(names, pieces, [name for name, values in (measured or {}).items() if _any(values)])
        fields = []
        for name in names:
            found, what = _population(name, pieces, measured)
            unit = UNITS.get(name, "") if what == "segments" else ""
            field = _fit_field(name, found, bins, most_values, unit)
            if len({field.encode(value) for value in found}) < 2:
                only = f"{field.describe_id(1)} in all" if field.size > 1 else "another one in each of"
                raise UserError(
                    f"conditions={list(names)}: {name} is {only} {len(found)} training {what}, "
                    "so nothing can be learnt from it; leave it out"
                )
            fields.append(field)
        return cls(tuple(fields))

    def grown(
        self,
        names: Sequence[str],
        pieces: Sequence[Mapping[str, Any]],
        bins: int = 8,
        most_values: int = 100,
        measured: Mapping[str, Sequence[Any]] | None = None,
    ) -> "ConditionCodec":
        """These conditions with the labels that `pieces` have beside theirs, then those of `names` that are new.

        What labels and numbers are worth keeping is as in `fit`, which raises the same errors for new names. Raises
        UserError for numbers of another measure than that of these.
        """
        for field in self.fields:
            unit = UNITS[field.name] if measured and field.name in measured and field.name in UNITS else ""
            if isinstance(field, Number) and field.unit != unit:
                now = unit or "the labels of this corpus"
                raise UserError(
                    f"init_from: {field.name} was learnt in another measure than {now}; train a new model with it"
                )
        known = tuple(
            _grown_field(field, _population(field.name, pieces, measured)[0], most_values) for field in self.fields
        )
        new = [name for name in names if name not in self.names]
        return ConditionCodec(known + ConditionCodec.fit(new, pieces, bins, most_values, measured).fields)

    @property
    def names(self) -> tuple[str, ...]:
        """The conditions, (C,)."""
        return tuple(field.name for field in self.fields)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of ids of each condition, (C,), NOT_GIVEN included."""
        return tuple(field.size for field in self.fields)

    def encode(self, values: Mapping[str, Any]) -> np.ndarray:
        """The ids of a piece's values, (C,) int64."""
        return np.array([field.encode(values.get(field.name)) for field in self.fields], dtype=np.int64)

    def encode_wish(self, wish: Mapping[str, Any]) -> np.ndarray:
        """The ids of what a user asks for, (C,) int64; what is left out or None is not given. Raises UserError."""
        if unknown := sorted(set(wish) - set(self.names)):
            name, known = unknown[0], ",".join(self.names)
            near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.6)
            mend = f"did you mean {near[0]}?" if near else f'train one: python train.py "conditions=[{known},{name}]"'
            raise UserError(f"conditions.{name}: this model was trained with {', '.join(self.names)}; {mend}")
        given = {name: value for name, value in wish.items() if value is not None}
        return np.array(
            [field.encode_wish(given[field.name]) if field.name in given else NOT_GIVEN for field in self.fields],
            dtype=np.int64,
        )

    def describe(self) -> list[str]:
        """A line for each condition: what `encode_wish` takes, as it is typed."""
        return [f"conditions.{field.name}: {field.describe()}" for field in self.fields]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"fields": [asdict(field) for field in self.fields]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ConditionCodec":
        """What `to_dict` gave. Raises KeyError or TypeError for anything else."""
        fields = []
        for values in data["fields"]:
            kind: Any = Label if "values" in values else Number
            fields.append(kind(**{key: tuple(v) if isinstance(v, list | tuple) else v for key, v in values.items()}))
        return cls(tuple(fields))


def piece_labels(corpus: Corpus) -> dict[str, dict[str, str | None]]:
    """For each piece's id the labels of its corpus, None where it has no value."""
    return {piece.id: {name: text or None for name, text in piece.labels.items()} for piece in corpus.pieces}


def check_names(names: Sequence[str], pieces: Sequence[Mapping[str, Any]], measured: Sequence[str] = NAMES) -> None:
    """Raise UserError for a name that is given twice, or is neither a label of the pieces nor one of `measured`."""
    known = sorted({*measured, *(name for piece in pieces for name, value in piece.items() if value is not None)})
    for place, name in enumerate(names):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            there = f"{', '.join(known)} (nearest: {near[0]})" if near else "none"
            raise UserError(f"conditions={list(names)}: the training pieces have no {name}; they have {there}")
        if name in names[:place]:
            raise UserError(f"conditions={list(names)}: {name} is given twice")


def as_number(value: Any) -> float | None:
    """A finite number with four digits that count, so that 119.9996 bpm is 120; None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return float(f"{number:.4g}") if math.isfinite(number) else None


def _any(values: Sequence[Any]) -> bool:
    return any(value is not None for value in values)


def _population(
    name: str, pieces: Sequence[Mapping[str, Any]], measured: Mapping[str, Sequence[Any]] | None
) -> tuple[Sequence[Any], str]:
    """All values of a condition, and of what they are."""
    if measured and name in measured:
        return measured[name], "segments"
    return [piece.get(name) for piece in pieces], "pieces"


def _fit_field(name: str, found: Sequence[Any], bins: int, most_values: int, unit: str = "") -> Label | Number:
    given = [value for value in found if value is not None]
    numbers = [as_number(value) for value in given]
    real = [number for number in numbers if number is not None]
    if name in UNITS or (len(real) == len(given) and len(set(real)) > bins):
        return _fit_number(name, np.array(real), bins, unit)
    return Label(name, _shared_values(given, most_values))


def _shared_values(given: Sequence[Any], most: int) -> tuple[str, ...]:
    """The most frequent of the values that several pieces have."""
    counts = Counter(map(str, given))
    shared = sorted((value for value in counts if counts[value] > 1), key=lambda value: (-counts[value], value))
    return tuple(shared[:most])


def _grown_field(field: Label | Number, found: Sequence[Any], most_values: int) -> Label | Number:
    given = [value for value in found if value is not None]
    if isinstance(field, Label):
        # The most frequent of all, so that to grow once more, as a resumed run does, changes nothing.
        new = [value for value in _shared_values(given, most_values) if value not in field.values]
        return replace(field, values=(*field.values, *new))
    numbers = [number for number in map(as_number, given) if number is not None]
    return replace(field, lowest=min([field.lowest, *numbers]), highest=max([field.highest, *numbers]))


def _fit_number(name: str, values: np.ndarray, bins: int, unit: str) -> Number:
    # Edges are values of pieces, and none is the lowest: no range is without a piece.
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf"))
    levels = np.quantile(values, list(LEVELS.values()), method="inverted_cdf")
    return Number(
        name,
        tuple(edges[edges > values.min()].tolist()),
        float(values.min()),
        float(values.max()),
        tuple(levels.tolist()),
        unit,
    )
