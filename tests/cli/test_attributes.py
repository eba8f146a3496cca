"""Attributes typed at a composition, and the report of obedience: what is kept to, what is told, what is refused."""

import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from midifactory.cli import asking, obedience
from midifactory.cli.asking import asked_values, told_length, typed_values
from midifactory.data.conditions import ConditionCodec, Label, Number
from midifactory.errors import UserError
from midifactory.generation.told import take_words, tell_numbers
from midifactory.music.attributes import UNITS, attributes_of
from midifactory.music.score import load_score

from .conftest import Outcome, run_command
from .test_bad_input import assert_refused
from .test_conditions import QUIET, TRAINING, write_labelled

DENSITY = Number("density", (2.0, 4.0), 1.0, 8.0, (1.5, 3.0, 6.0), UNITS["density"])
PITCH = Number("mean_pitch", (60.0,), 50.0, 70.0, (55.0, 60.0, 65.0), UNITS["mean_pitch"])
BARS = Number("bars", (4.0,), 2.0, 16.0, (3.0, 4.0, 8.0), UNITS["bars"])
KEY = Label("key", ("C major", "A minor", "Db major"))
PROGRAMS = Label("programs", ("[0]", "[-1,0,33]"))
TEMPO = Number("tempo_bpm", (80.0, 120.0), 60.0, 200.0, (75.0, 100.0, 150.0), UNITS["tempo_bpm"])
PROFILE = {"programs": [{"program": 0}, {"program": 33}, {"program": -1}]}


def settings_of(**typed):
    """Settings of a generation in which nothing is asked but `typed`."""
    names = ("density", "polyphony", "tempo_bpm", "bars", "seconds", "metre", "key", "instruments", "prompt")
    return {**dict.fromkeys(names), "conditions": {}, "seed": 0, **typed}


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


@pytest.mark.parametrize(("word", "low", "high"), [("low", 62.5, 87.5), ("Medium", 87.5, 125), ("high", 125, 175)])
def test_a_word_for_the_tempo_is_a_number_nearest_to_its_level_that_varies_with_the_seed(word, low, high):
    found = [told((TEMPO, DENSITY), tempo_bpm=word, seed=seed) for seed in range(40)]
    for settings in found:
        assert settings["conditions"] == {"tempo_bpm": settings["tempo_bpm"]}
        assert low <= settings["tempo_bpm"] <= high
        assert settings["tempo_bpm"] == round(settings["tempo_bpm"])
    assert len({settings["tempo_bpm"] for settings in found}) > 10
    assert told((TEMPO,), tempo_bpm=word, seed=7) == told((TEMPO,), tempo_bpm=word, seed=7)


def test_a_word_for_the_tempo_never_leaves_what_training_showed():
    narrow = Number("tempo_bpm", (96.4,), 96.25, 96.75, (96.25, 96.25, 96.5), UNITS["tempo_bpm"])
    assert told((narrow,), tempo_bpm="low")["tempo_bpm"] == 96.25
    high = {told((narrow,), tempo_bpm="high", seed=seed)["tempo_bpm"] for seed in range(20)}
    assert 96.37 < min(high) < max(high) <= 96.75


def test_a_word_for_the_tempo_needs_a_model_that_was_told_tempos():
    """Else it is left for the refusal that says how to train one; so is one of another measure, which is only told."""
    old = Number("tempo_bpm", TEMPO.edges, TEMPO.lowest, TEMPO.highest, TEMPO.levels)
    for fields in ((DENSITY,), (old,)):
        settings = told(fields, tempo_bpm="high")
        assert (settings["tempo_bpm"], settings["conditions"]) == (None, {"tempo_bpm": "high"})
    with pytest.raises(UserError, match="they mean the same; give one"):
        told((TEMPO,), tempo_bpm="high", conditions={"tempo_bpm": "low"})
    assert told((TEMPO,), conditions={"tempo_bpm": "low"})["tempo_bpm"] is None, "told only"


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


@pytest.mark.parametrize("field", [DENSITY, PITCH, BARS, KEY, PROGRAMS])
def test_what_is_typed_are_few_values_side_by_side(field):
    values = typed_values(field, 200)
    assert len(values) == 200
    assert [value for value, _ in itertools.groupby(values)] == sorted(set(values), key=values.index)
    assert all(field.encode_wish(value) for value in values)
    if isinstance(field, Number):
        assert len({field.encode_wish(value) for value in values}) == field.size - 1, "every range is asked"
        assert len(set(values)) <= 20
    counts = [values.count(value) for value in set(values)]
    assert max(counts) - min(counts) <= 1


def test_whole_numbers_are_typed_of_bars_and_voices():
    voices = Number("polyphony", (1.6, 2.5), 1.3, 3.7, (1.5, 2.0, 3.0), UNITS["polyphony"])
    assert set(typed_values(voices, 200)) == {2, 3}
    assert set(typed_values(BARS, 200)) <= set(range(2, 17))
    one = Number("polyphony", (1.2,), 1.1, 1.4, (1.1, 1.2, 1.3), UNITS["polyphony"])
    assert set(typed_values(one, 5)) == {1}, "kept to, though the model cannot be told"


def test_a_length_is_the_models_own_to_end():
    trained = SimpleNamespace(segment={"unit": "bars", "length": 4})
    assert (told_length(trained, DENSITY, None).bars, told_length(trained, DENSITY, None).or_end) == (4, False)
    assert told_length(trained, KEY, 6).bars == 6
    assert (told_length(trained, BARS, 6).bars, told_length(trained, BARS, 6).or_end) == (24, True)
    assert told_length(SimpleNamespace(segment={"unit": "seconds", "length": 16.0}), KEY, None).bars == 8


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


@pytest.mark.parametrize(("asked", "words"), [("model", "only told"), ("command", "as typed at generate")])
def test_the_report_says_what_is_obeyed(trained, asked, words):
    done = run_command(trained, "obedience", "samples=24", "bars=2", "guidance=2", f"asked={asked}")
    assert done.code == 0, done
    assert f"asked {words}" in done.out
    assert re.search(r"density +24  Spearman 0\.\d\d \(.* to .*\), median off by \S+ notes a beat", done.out)
    record, folder = report_of(trained)
    assert (folder / "obedience.png").read_bytes().startswith(b"\x89PNG")
    assert record["asked"].startswith(words)
    assert list(record["attributes"]) == ["density", "mean_pitch"]
    for name, row in record["attributes"].items():
        assert len(row["asked"]) == len(row["measured"]) == 24, name
        assert row["spearman"] > 0.5, name
    again = run_command(
        trained, "obedience", "samples=24", "bars=2", "guidance=2", f"asked={asked}", "attributes=[mean_pitch]",
        "at_once=5",
    )  # fmt: skip
    assert again.code == 0, again
    row = report_of(trained)[0]["attributes"]["mean_pitch"]
    assert row["asked"] == record["attributes"]["mean_pitch"]["asked"]


def report_of(folder: Path) -> tuple[dict, Path]:
    """The newest report and its folder."""
    newest = max((folder / "outputs" / "obedience").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return json.loads((newest / "obedience.json").read_text()), newest


def test_a_piece_of_the_report_is_the_one_that_generate_writes(trained):
    """The same settings typed at generate, measured on the file."""
    done = run_command(trained, "obedience", "samples=2", "bars=4", "attributes=[density]", "guidance=2", "seed=3")
    assert done.code == 0, done
    row = report_of(trained)[0]["attributes"]["density"]
    for number, (asked, measured) in enumerate(zip(row["asked"], row["measured"], strict=True)):
        _, piece = generated(trained, f"density={asked}", "guidance=2", f"seed={3 + number}")
        assert attributes_of(load_score(piece))["density"] == pytest.approx(measured)


def test_an_interrupted_report_goes_on(trained, monkeypatch):
    """What it has is not asked again, and the whole is what it would have been; other settings are refused."""
    asked = ("samples=4", "bars=1")
    assert run_command(trained, "obedience", *asked).code == 0
    whole, _ = report_of(trained)
    assert run_command(trained, "obedience", *asked, "attributes=[density]").code == 0
    begun, folder = report_of(trained)
    assert list(begun["attributes"]) == ["density"]
    seen, ask = [], obedience.ask
    monkeypatch.setattr(obedience, "ask", lambda model, name, config: seen.append(name) or ask(model, name, config))
    done = run_command(trained, "obedience", f"resume={folder}", "attributes=null")
    assert done.code == 0, done
    assert seen == ["mean_pitch"]
    assert report_of(trained)[1] == folder
    assert report_of(trained)[0]["attributes"] == whole["attributes"]
    again = run_command(trained, "obedience", f"resume={folder}")
    assert (again.code, seen) == (0, ["mean_pitch"])
    assert "density" in again.out
    assert_refused(run_command(trained, "obedience", f"resume={folder}", "samples=5"), "samples was 4", "start anew")
    refused = run_command(trained, "obedience", f"resume={folder}", "generate.key_strength=5")
    assert_refused(refused, "generate.key_strength was 3.0")
    assert_refused(run_command(trained, "obedience", f"resume={trained}"), "no report was begun there")


def test_an_evaluation_asks_as_the_report_does_and_goes_on(trained, monkeypatch):
    asked = ("bars=1", "guidance=2")
    assert run_command(trained, "obedience", "samples=4", *asked).code == 0
    expected = report_of(trained)[0]["attributes"]
    seen, ask = [], obedience.ask
    monkeypatch.setattr(obedience, "ask", lambda model, name, config: seen.append(name) or ask(model, name, config))

    def evaluated(name: str, *arguments: str) -> tuple[Outcome, dict, str]:
        folder = trained / "outputs" / "evaluate" / name
        less = ("samples=0", "likelihood=false", f"hydra.run.dir={folder}")
        done = run_command(trained, "evaluate", *less, *asked, *arguments)
        assert done.code == 0, done
        return done, json.loads((folder / "evaluation.json").read_text()), (folder / "evaluation.html").read_text()

    done, record, page = evaluated("one", "obedience=4")
    assert re.search(r"density +4  Spearman", done.out)
    how = {"asked": "command", "guidance": 2, "bars": 1, "count": 4}
    assert record["obedience"] == {**how, "attributes": expected}
    assert page.count("<h2>Obedience</h2>") == 1
    assert page.count("<title>asked ") == 8
    assert seen == ["density", "mean_pitch"]
    assert evaluated("one", "obedience=4")[1]["obedience"] == record["obedience"]
    assert len(seen) == 2, "what the folder has is not asked again"
    assert evaluated("two", "obedience=2", "asked=model")[1]["obedience"]["count"] == 2
    done = run_command(trained, "compare", "outputs/evaluate/one", "outputs/evaluate/two")
    assert done.code == 0, done
    assert "B: asked=model, guidance=2, 2 pieces each" in done.out
    (page,) = (trained / "outputs" / "compare").glob("*/compare.html")
    assert "asked=model, guidance=2" in page.read_text()
    other = evaluated("one", "obedience=2")[1]["obedience"]
    assert (other["count"], len(seen)) == (2, 6), "other settings begin anew"


@pytest.mark.parametrize(
    ("command", "arguments", "parts"),
    [
        ("generate", ["note_length=low"], ["conditions.note_length", "trained with density, mean_pitch", "train one"]),
        ("generate", ["mean_pitch=200"], ["conditions.mean_pitch=200", "MIDI pitch"]),
        ("generate", ["polyphony=low"], ["conditions.polyphony", '"conditions=[density,mean_pitch,polyphony]"']),
        ("generate", ["density=loud"], ["density=loud", "number"]),
        ("generate", ["density=low", "conditions.density=high"], ["they mean the same"]),
        ("obedience", ["attributes=[densty]"], ["attributes=densty", "density, mean_pitch", "nearest: density"]),
        ("obedience", ["attributes=densty"], ["attributes=densty", "nearest: density"]),
        ("obedience", ["samples=1"], ["samples=1", "at least 2"]),
        ("obedience", ["asked=loudly"], ["asked=loudly", "command, model"]),
        ("obedience", ["generate.prompt=song.mid"], ["generate.prompt=song.mid", "leave it out"]),
        ("obedience", ["generate.polyphony=0", "samples=2"], ["polyphony=0", "density", "asked=model"]),
        ("obedience", ["guidance=much"], ["guidance=much", "number"]),
        ("evaluate", ["obedience=1"], ["obedience=1", "at least 2"]),
        ("evaluate", ["obedience=some"], ["obedience=some", "at least 2"]),
        ("evaluate", ["obedience=2", "asked=loudly"], ["asked=loudly", "command, model"]),
        ("evaluate", ["obedience=2", "generate.prompt=song.mid"], ["generate.prompt=song.mid", "leave it out"]),
        ("evaluate", ["obedience=2", "model=5-gram", "data=folder", "data.root=songs"], ["obedience=2", "checkpoint="]),
    ],
)
def test_what_cannot_be_asked_is_told(trained, command, arguments, parts):
    assert_refused(run_command(trained, command, *arguments), *parts)


def test_a_model_that_was_told_no_attributes(in_studio):
    refused = in_studio("generate", "bars=1", "density=high")
    assert_refused(refused, "conditions.density", "trained without conditions", 'train.py "conditions=[density]"')
    refused = in_studio("evaluate", "obedience=4")
    assert_refused(refused, "not trained for attributes", 'python train.py "conditions=[density,')
    refused = in_studio("obedience")
    assert_refused(refused, "not trained for attributes", 'python train.py "conditions=[density,')


class TestModelsThatAlwaysOrNeverObey:
    """The report tells one that does exactly what it is asked from one that does not listen."""

    @staticmethod
    def report(monkeypatch, obeys):
        def compose(trained, opening, wishes, length, sampling, count, *_, conditions, **__):
            labels = conditions.labels[:, 0].tolist()
            return [SimpleNamespace(score=labels[row] if obeys else (row * 7) % count) for row in range(count)]

        monkeypatch.setattr(asking, "compose", compose)
        for name in ("opening_of_style", "bind_range", "parse_wishes", "read_sampling"):
            monkeypatch.setattr(asking, name, lambda *_: None)
        codec = ConditionCodec((DENSITY, KEY))
        config = OmegaConf.create(
            {"asked": "model", "samples": 200, "bars": 4, "seed": 0, "guidance": 1.0, "at_once": 8, "generate": {}}
        )
        model = SimpleNamespace(conditions=codec, profile=None, tokenizer=None, segment={})
        for name, value_of in (
            ("density", float),
            ("key", lambda number: KEY.values[number - 1] if obeys else KEY.values[number % 3]),
        ):
            measure = lambda number, name=name, value_of=value_of: {name: value_of(number)}  # noqa: E731
            monkeypatch.setattr(obedience, "attributes_of", measure)
            only = SimpleNamespace(**{**vars(model), "conditions": ConditionCodec((codec.fields[name == "key"],))})
            yield obedience.ask(only, name, config)

    def test_always(self, monkeypatch):
        density, key = self.report(monkeypatch, obeys=True)
        assert density["spearman"] > 0.9, "the model is told ranges, not numbers"
        assert (key["exact"], key["pieces"]) == (1.0, 200)

    def test_never(self, monkeypatch):
        density, key = self.report(monkeypatch, obeys=False)
        assert density["low"] < 0.2
        assert key["exact"] < 0.5
