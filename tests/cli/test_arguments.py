"""Arguments against Hydra itself: what was typed must arrive, whatever the grammar thinks of it."""

import os

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from midifactory.cli.arguments import (
    HYDRA_INFO_FLAGS,
    HYDRA_SWITCHES,
    HYDRA_VALUE_FLAGS,
    is_free_text,
    quote,
    to_overrides,
)
from midifactory.errors import UserError
from midifactory.paths import conf_dir

NASTY = [
    "Für Elise (1).mid",
    "it's, [a] {b}.mid",
    "C# F#m Bb7/D",
    "a=b.mid",
    'say "hi".mid',
    "${oc.env:HOME}.mid",
    "back\\slash.mid",
    "trailing\\",
    "日本.mid",
    "epoch=3-step=100.ckpt",
    " spaces ",
    "\\${x}\\",
    "\\\\${x} \\' \\\\'",
    "$ ${ $$ }",
    "'one' and 'two'",
    "it's",
    "'",
    "123",
    "a\tb\nc",
    "~/x, y",
]


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """Compose a small config with overrides, by Hydra."""
    folder = tmp_path_factory.mktemp("conf")
    (folder / "data").mkdir()
    (folder / "main.yaml").write_text(
        "defaults: [_self_, {data: demo}]\nprompt: null\nchords: null\nreplay: null\ncheckpoint: null\n"
        "name: null\ntop_k: 0\ntemperature: 1.0\noverwrite: false\ngenerate: {chords: null}\n"
    )
    (folder / "data" / "demo.yaml").write_text("kind: demo\nroot: null\n")
    (folder / "data" / "folder.yaml").write_text("kind: folder\nroot: ???\n")
    with initialize_config_dir(config_dir=str(folder), version_base="1.3"):
        yield lambda overrides: compose("main", overrides=overrides)


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("key", ["prompt", "name", "generate.chords"])
def test_free_text_arrives_as_typed(composed, key, value):
    (override,) = to_overrides("generate", [f"{key}={value}"])
    config = composed([override])
    assert (config.generate.chords if key == "generate.chords" else config[key]) == value


@pytest.mark.parametrize("value", NASTY)
def test_free_text_survives_a_sweep(composed, value):
    parsed = OverridesParser.create().parse_override(f"prompt={quote(value)}")
    assert not parsed.is_sweep_override()
    again = f"{parsed.get_key_element()}={parsed.get_value_element_as_str()}"  # as Hydra's sweeper writes it
    assert composed([again]).prompt == value


@pytest.mark.parametrize("value", [name for name in NASTY if name.endswith(".mid")])
def test_nasty_file_by_position(composed, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / value).touch()
    assert composed(to_overrides("generate", [value])).prompt == value


@pytest.mark.parametrize(
    ("argument", "key"),
    [
        ("x.mid", "prompt"),
        ("X.MIDI", "prompt"),
        ("a b.kar", "prompt"),
        ("r.json", "replay"),
        ("runs/epoch 3.ckpt", "checkpoint"),
        ("dir (1)/epoch=3-step=100.ckpt", "checkpoint"),
    ],
)
def test_suffix_chooses_the_key_of_a_file_that_need_not_exist(composed, argument, key):
    assert composed(to_overrides("generate", [argument]))[key] == argument


def test_of_two_midi_files_each_takes_its_key():
    assert to_overrides("interpolate", ["a b.mid", "steps=3", "x=y.kar"]) == ["start='a b.mid'", "steps=3", "x=y.kar"]
    assert to_overrides("interpolate", ["1.mid", "2.mid", "m.ckpt"]) == [
        "start='1.mid'",
        "end='2.mid'",
        "checkpoint='m.ckpt'",
    ]
    assert to_overrides("interpolate", ["end=2.mid", "1.mid"]) == ["end='2.mid'", "start='1.mid'"]
    assert to_overrides("vary", ["1.mid", "amount=0.5"]) == ["prompt='1.mid'", "amount=0.5"]
    with pytest.raises(UserError, match=r"end is given twice, as '2.mid' and '3.mid'; interpolate takes one"):
        to_overrides("interpolate", ["1.mid", "2.mid", "3.mid"])
    with pytest.raises(UserError, match=r"a .mid, .midi or .kar file \(start and end\)"):
        to_overrides("interpolate", ["what?"])


@pytest.mark.parametrize("command", ["train", "prepare", "analyze", "all"])
def test_folder_by_position(composed, command, tmp_path):
    folder = tmp_path / "my, midi's"
    folder.mkdir()
    config = composed(to_overrides(command, [str(folder), "top_k=3"]))
    assert (config.data.kind, config.data.root, config.top_k) == ("folder", str(folder), 3)
    assert composed(to_overrides(command, [str(folder), "data=demo"])).data == {"kind": "demo", "root": str(folder)}


def test_an_experiment_with_data_of_its_own_keeps_them():
    given = ["experiment=jsb_chorales", "data.root='songs'"]
    assert to_overrides("train", given) == given
    given = ["experiment=smoke", "data.root='songs'"]
    assert to_overrides("train", given) == ["data=folder", *given]


def test_an_override_wins_over_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seed=1").mkdir()
    assert to_overrides("train", ["seed=1"]) == ["seed=1"]
    assert to_overrides("train", ["./seed=1"]) == ["data=folder", "data.root='./seed=1'"]


@pytest.mark.parametrize(
    "argument",
    [
        "model=transformer,gru",
        "+trainer.limit=3",
        "++a.b=[1,2]",
        "~logger",
        "~logger.wandb=x",
        "hydra/launcher=joblib",
        "db@source=mysql",
        "seed=range(1,4)",
        "window=${other}",
        "prompt=null",
        "prompt=",
        "prompt='quo, ted'",
        'chords="C F"',
        "chords='C F','G Am'",
        "logger.name=x",
        "model.root=x",
    ],
)
def test_everything_else_passes_untouched(argument):
    assert to_overrides("train", [argument]) == [argument]


def test_own_flags(composed):
    argv = ["--temperature", "0.9", "--top-k=40", "--chords", "C# F", "--overwrite", "song (1).mid"]
    config = composed(to_overrides("generate", argv))
    assert (config.temperature, config.top_k, config.chords) == (0.9, 40, "C# F")
    assert (config.overwrite, config.prompt) == (True, "song (1).mid")
    assert to_overrides("train", ["--a", "-0.5", "--b", "--c", "x=1", "--d"]) == [
        "a=-0.5",
        "b=true",
        "c=true",
        "x=1",
        "d=true",
    ]


def test_hydra_flags_pass_behind_the_overrides():
    assert to_overrides("train", ["-m", "--cfg", "job", "a=1", "--info", "b=2"]) == [
        "a=1",
        "b=2",
        "-m",
        "--cfg",
        "job",
        "--info",
    ]
    assert to_overrides("train", ["--info", "plugins"]) == ["--info", "plugins"]
    assert to_overrides("train", ["-cd", "mine"]) == ["-cd", os.path.abspath("mine")]
    assert to_overrides("train", ["--config-dir=mine"]) == ["--config-dir", os.path.abspath("mine")]


def test_every_flag_of_hydra_is_known():
    known = {*HYDRA_SWITCHES, *HYDRA_VALUE_FLAGS, *HYDRA_INFO_FLAGS, "-s"}
    actions = [action for action in get_args_parser()._actions if action.option_strings]
    assert {option for action in actions for option in action.option_strings} <= known
    for action in actions:
        takes_value = action.nargs is None
        assert all((option in HYDRA_VALUE_FLAGS) == takes_value for option in action.option_strings)


@pytest.mark.parametrize(
    ("command", "argv", "words"),
    [
        ("generate", ["nonsense"], "'nonsense'"),
        ("generate", ["a b=3"], "'a b=3'"),
        ("train", ["song.mid"], "folder of MIDI files"),
        ("train", ["no/such/folder"], "'no/such/folder'"),
        ("generate", ["-x", "3"], "unknown option '-x'"),
        ("generate", ["a.mid", "b.mid"], "given twice"),
        ("generate", ["a.mid", "prompt=b.mid"], "given twice"),
        ("train", ["--cfg"], "--cfg needs a value"),
    ],
)
def test_what_is_not_understood_is_named(command, argv, words):
    with pytest.raises(UserError, match=r"understands|twice|needs") as caught:
        to_overrides(command, argv)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_free_text_keys():
    assert all(map(is_free_text, ["prompt", "generate.key", "data.root", "all.data.archive", "train.resume", "output"]))
    assert not any(map(is_free_text, ["model.name", "root", "seed", "data", "prompt.bars"]))


def test_a_pattern_with_brackets_reaches_the_corpus_as_it_is():
    """README's data.group_by, as the shell passes it on."""
    (override,) = to_overrides("prepare", ["data.group_by=^([^/]+)/"])
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        assert compose("prepare", [override]).data.group_by == "^([^/]+)/"
    (nothing,) = to_overrides("prepare", ["data.group_by=null"])
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        assert compose("prepare", [nothing]).data.group_by is None


@pytest.mark.parametrize("value", [*NASTY, "3/4", "[0,33]", "A minor", "120"])
@pytest.mark.parametrize(("command", "section"), [("generate", ""), ("all", "generate.")])
def test_a_composition_is_asked_for_by_names_that_no_config_has(command, section, value):
    (override,) = to_overrides(command, [f"{section}conditions.tune_type={value}"])
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(command, [override])
    assert (config.generate if section else config).conditions.tune_type == value


def test_conditions_that_are_no_free_text():
    assert to_overrides("generate", ["conditions.key=null"]) == ["++conditions.key=null"]
    assert to_overrides("generate", ["++conditions.key=C major"]) == ["++conditions.key='C major'"]
    assert to_overrides("generate", ["conditions.key='C major','A minor'"]) == ["++conditions.key='C major','A minor'"]
    assert to_overrides("train", ["conditions=[key,metre]"]) == ["conditions=[key,metre]"]


@pytest.mark.parametrize(
    ("command", "argument", "words"),
    [
        ("train", "conditions.key=C major", "train takes the names of what the model is told: conditions=[key]"),
        ("prepare", "conditions.key=C", "conditions=[key]"),
        ("vary", "conditions.key=C", "vary takes no conditions; leave it out"),
        ("all", "conditions.key=C major", "all takes generate.conditions.key=C major"),
        ("generate", "generate.conditions.key=C", "generate takes conditions.key=C"),
    ],
)
def test_conditions_in_the_wrong_place_are_shown_the_right_one(command, argument, words):
    with pytest.raises(UserError) as caught:
        to_overrides(command, [argument])
    assert words in str(caught.value)
