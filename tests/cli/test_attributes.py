"""Attributes typed at a composition, and the report of obedience: what is kept to, what is told, what is refused."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from midifactory.cli import obedience
from midifactory.cli.attributes import take_words, tell_numbers
from midifactory.cli.obedience import asked_values, length_of
from midifactory.data.conditions import ConditionCodec, Label, Number
from midifactory.errors import UserError
from midifactory.music.attributes import UNITS
from midifactory.music.score import load_score

from .conftest import Outcome, run_command
from .test_bad_input import assert_refused
from .test_conditions import QUIET, TRAINING, write_labelled

DENSITY = Number("density", (2.0, 4.0), 1.0, 8.0, (1.5, 3.0, 6.0), UNITS["density"])
PITCH = Number("mean_pitch", (60.0,), 50.0, 70.0, (55.0, 60.0, 65.0), UNITS["mean_pitch"])
BARS = Number("bars", (4.0,), 2.0, 16.0, (3.0, 4.0, 8.0), UNITS["bars"])
KEY = Label("key", ("C major", "A minor", "Db major"))
PROGRAMS = Label("programs", ("[0]", "[-1,0,33]"))
PROFILE = {"programs": [{"program": 0}, {"program": 33}, {"program": -1}]}


def settings_of(**typed):
    """Settings of a generation in which nothing is asked but `typed`."""
    names = ("density", "polyphony", "tempo_bpm", "bars", "seconds", "metre", "key", "instruments", "prompt")
    return {**dict.fromkeys(names), "conditions": {}, **typed}


def told(codec_fields, **typed):
    """What is left of the settings once the model's conditions are settled."""
    settings = settings_of(**typed)
    take_words(settings, {"mean_pitch": None, "note_length": None, **typed, **settings_of(**typed)})
    model = SimpleNamespace(conditions=ConditionCodec(codec_fields), profile=PROFILE)
    tell_numbers(settings, model)
    return settings


def test_a_word_is_only_told_and_a_number_is_kept_to_and_told():
    word, number = told((DENSITY,), density="High"), told((DENSITY,), density=6)
    assert (word["density"], word["conditions"]) == (None, {"density": "High"})
    assert (number["density"], number["conditions"]) == (6, {"density": 6})


def test_what_the_engine_does_not_know_is_only_told():
    for value in (66, "low", 66.5):
        settings = settings_of()
        take_words(settings, {**settings_of(), "mean_pitch": value, "note_length": None})
        assert settings["conditions"] == {"mean_pitch": value}
        assert "mean_pitch" not in settings


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ({"bars": 8}, {"bars": 8}),
        ({"bars": 8, "prompt": "song.mid"}, {}),
        ({"key": "c# major"}, {"key": "c# major"}),
        ({"instruments": ["bass", "piano", "drums"]}, {"programs": [33, 0, -1]}),
        ({"metre": "3/4"}, {}),
        ({"density": 6, "conditions": {"density": "low"}}, {"density": "low"}),
    ],
)
def test_what_the_model_knows_is_told(typed, expected):
    settings = told((DENSITY, BARS, KEY, PROGRAMS), **typed)
    assert settings["conditions"] == expected
    codec = ConditionCodec((DENSITY, BARS, KEY, PROGRAMS))
    assert (codec.encode_wish(settings["conditions"]) > 0).sum() == len(expected)


@pytest.mark.parametrize("typed", [{"density": 20}, {"bars": 64}, {"key": "F minor"}, {"instruments": ["drums"]}])
def test_what_training_did_not_show_is_kept_to_and_said_not_to_be_told(typed, capsys):
    settings = told((DENSITY, BARS, KEY, PROGRAMS), **typed)
    ((name, value),) = typed.items()
    assert (settings[name], settings["conditions"]) == (value, {})
    assert f"{name}={value}: kept to, but the model is not told; it knows " in capsys.readouterr().out


def test_numbers_of_another_measure_are_not_told():
    """As those of older checkpoints, whose density was in notes a second."""
    old = Number("density", DENSITY.edges, DENSITY.lowest, DENSITY.highest, DENSITY.levels)
    assert told((old,), density=6)["conditions"] == {}


def test_an_attribute_twice_is_refused():
    with pytest.raises(UserError, match="they mean the same; give one"):
        told((DENSITY,), density="high", conditions={"density": "low"})


# --- What is asked ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [DENSITY, PITCH, BARS, KEY, PROGRAMS])
@pytest.mark.parametrize("count", [2, 7, 200])
def test_values_are_spread_evenly_and_all_may_be_asked(field, count):
    values = asked_values(field, count)
    assert len(values) == count
    ids = [field.encode_wish(value) for value in values]
    if count == 200:
        sizes = [ids.count(number) for number in range(1, field.size)]
        assert max(sizes) - min(sizes) <= 2 or field is BARS, "whole bars fall where they do"
    if isinstance(field, Number):
        assert values == sorted(values)


def test_a_length_is_the_models_own_to_end():
    trained = SimpleNamespace(segment={"unit": "bars", "length": 4})
    assert (length_of(trained, DENSITY, None).bars, length_of(trained, DENSITY, None).or_end) == (4, False)
    assert length_of(trained, KEY, 6).bars == 6
    assert (length_of(trained, BARS, 6).bars, length_of(trained, BARS, 6).or_end) == (24, True)
    assert length_of(SimpleNamespace(segment={"unit": "seconds", "length": 16.0}), KEY, None).bars == 8


# --- By the commands -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that was told density and mean pitch in front of its first token."""
    folder = tmp_path_factory.mktemp("attributes")
    write_labelled(folder / "songs")
    asked = (
        "conditions=[density,mean_pitch]",
        "model.condition_mode=prefix",
        "estimate=false",
        "data.condition_bins=2",
    )
    done = run_command(folder, "train", "songs", *TRAINING, *asked)
    assert done.code == 0, done
    return folder


def generated(folder: Path, *arguments: str) -> tuple[Outcome, Path]:
    """The first piece of four bars."""
    done = run_command(folder, "generate", "bars=4", *QUIET, *arguments)
    assert done.code == 0, done
    return done, Path(re.search(r"^(/.*\.mid)  \(", done.out, re.MULTILINE)[1])


def test_a_word_and_a_number_are_recorded_and_replayed(trained):
    _, high = generated(trained, "density=high", "guidance=2")
    _, number = generated(trained, "density=2", "mean_pitch=78")
    records = [json.loads(piece.with_suffix(".json").read_text())["settings"] for piece in (high, number)]
    assert (records[0]["density"], records[0]["conditions"]) == (None, {"density": "high"})
    assert (records[1]["density"], records[1]["conditions"]) == (2, {"density": 2, "mean_pitch": 78})
    for piece in (high, number):
        assert load_score(piece).note_num() > 20, "eight notes a bar"
        _, again = generated(trained, str(piece.with_suffix(".json")))
        assert again.read_bytes() == piece.read_bytes()


def test_the_report_says_what_is_obeyed(trained):
    done = run_command(trained, "obedience", "samples=24", "bars=2", "guidance=2")
    assert done.code == 0, done
    assert re.search(r"density +24  Spearman 0\.\d\d \(.* to .*\), median off by \S+ notes a beat", done.out)
    (folder,) = (trained / "outputs" / "obedience").iterdir()
    assert (folder / "obedience.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((folder / "obedience.json").read_text())
    assert list(record["attributes"]) == ["density", "mean_pitch"]
    for name, row in record["attributes"].items():
        assert len(row["asked"]) == len(row["measured"]) == 24, name
        assert row["spearman"] > 0.5, name
    again = run_command(
        trained, "obedience", "samples=24", "bars=2", "guidance=2", "attributes=[mean_pitch]", "at_once=5"
    )
    assert again.code == 0, again
    second = max((trained / "outputs" / "obedience").iterdir(), key=lambda path: path.stat().st_mtime)
    row = json.loads((second / "obedience.json").read_text())["attributes"]["mean_pitch"]
    assert row["asked"] == record["attributes"]["mean_pitch"]["asked"]


@pytest.mark.parametrize(
    ("command", "arguments", "parts"),
    [
        ("generate", ["note_length=low"], ["conditions.note_length", "trained with density, mean_pitch", "train one"]),
        ("generate", ["mean_pitch=200"], ["conditions.mean_pitch=200", "MIDI pitch"]),
        ("generate", ["polyphony=low"], ["conditions.polyphony", '"conditions=[density,mean_pitch,polyphony]"']),
        ("generate", ["density=loud"], ["density=loud", "number"]),
        ("generate", ["density=low", "conditions.density=high"], ["they mean the same"]),
        ("obedience", ["attributes=[densty]"], ["attributes=densty", "density, mean_pitch", "nearest: density"]),
        ("obedience", ["samples=1"], ["samples=1", "at least 2"]),
        ("obedience", ["guidance=much"], ["guidance=much", "number"]),
    ],
)
def test_what_cannot_be_asked_is_told(trained, command, arguments, parts):
    assert_refused(run_command(trained, command, *arguments), *parts)


def test_a_model_that_was_told_no_attributes(in_studio):
    refused = in_studio("generate", "bars=1", "density=high")
    assert_refused(refused, "conditions.density", "trained without conditions", 'train.py "conditions=[density]"')
    refused = in_studio("obedience")
    assert_refused(refused, "not trained for attributes", 'python train.py "conditions=[density,')


class TestModelsThatAlwaysOrNeverObey:
    """The report tells one that does exactly what it is asked from one that does not listen."""

    @staticmethod
    def report(monkeypatch, obeys):
        def compose(trained, opening, wishes, length, sampling, count, *_, conditions, **__):
            labels = conditions.labels[:, 0].tolist()
            return [SimpleNamespace(score=labels[row] if obeys else (row * 7) % count) for row in range(count)]

        monkeypatch.setattr(obedience, "compose", compose)
        monkeypatch.setattr(obedience, "opening_of_style", lambda *_: None)
        monkeypatch.setattr(obedience, "bind_range", lambda *_: None)
        monkeypatch.setattr(obedience, "parse_wishes", lambda *_: None)
        codec = ConditionCodec((DENSITY, KEY))
        config = SimpleNamespace(samples=200, bars=4, seed=0, guidance=1.0, at_once=8)
        model = SimpleNamespace(conditions=codec, profile=None, tokenizer=None, segment={})
        for name, value_of in (
            ("density", float),
            ("key", lambda number: KEY.values[number - 1] if obeys else KEY.values[number % 3]),
        ):
            measure = lambda number, name=name, value_of=value_of: {name: value_of(number)}  # noqa: E731
            monkeypatch.setattr(obedience, "attributes_of", measure)
            only = SimpleNamespace(**{**vars(model), "conditions": ConditionCodec((codec.fields[name == "key"],))})
            yield obedience.ask(only, name, config, None)

    def test_always(self, monkeypatch):
        density, key = self.report(monkeypatch, obeys=True)
        assert density["spearman"] > 0.9, "the model is told ranges, not numbers"
        assert (key["exact"], key["pieces"]) == (1.0, 200)

    def test_never(self, monkeypatch):
        density, key = self.report(monkeypatch, obeys=False)
        assert density["low"] < 0.2
        assert key["exact"] < 0.5
