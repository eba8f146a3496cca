r"""What people type, turned into the overrides that Hydra's grammar accepts.

Hydra takes `key=value` only, and refuses a bare value with spaces, commas, apostrophes, `#` or `=`. Here, before
Hydra parses, a file or folder by position gets its key, free text gets its quotes, and `--top-k 40` becomes
`top_k=40`. Everything else passes through untouched, so sweeps such as `model=transformer,gru` still work.
"""

import os
import re
from pathlib import Path

from midifactory.errors import UserError
from midifactory.paths import conf_dir

# Keys whose value is free text: always one string, never a sweep, a list or an interpolation.
FREE_TEXT_KEYS = (
    "prompt",
    "checkpoint",
    "replay",
    "chords",
    "harmony",
    "key",
    "data.root",
    "data.archive",
    "data.group_by",
    "resume",
    "init_from",
    "start",
    "end",
    "attribute_with",
    "attribute_without",
    "tracks",
    "instrument",
    "name",
    "output",
    "port",
    "input",
    "file",
    "folder",
    "license_name",
    "push",
)
# These mean the same wherever they stand (`generate.chords`); `name` does not (`logger.name`).
_FREE_AT_ANY_DEPTH = ("prompt", "checkpoint", "replay", "chords", "harmony", "key")
_SECTIONS = ("train", "generate", "prepare", "analyze")
# What a composition is asked to be: every model knows other names, so no config has them.
_CONDITION = re.compile(r"(?:generate\.)?conditions\.(\w+)\Z")
# Every tokenizer has other types.
_PER_TYPE = re.compile(r"(?:generate\.)?temperature_per_type\.\w+\Z")

_KEY_OF_SUFFIX = {
    ".mid": "prompt",
    ".midi": "prompt",
    ".kar": "prompt",
    ".json": "replay",
    ".ckpt": "checkpoint",
}
_TAKES_FILE = (
    *("generate", "attention", "interpolate", "vary", "continue", "orchestrate", "live"),
    *("infill", "add_track", "harmonise"),
)
_COMPOSES = ("generate", "continue", "live")
# Where a command takes several MIDI files, their keys in the order in which they stand.
_MIDI_KEYS = {"interpolate": ("start", "end")}
_TAKES_CONDITION_NAMES = ("train", "prepare", "profile")
_TAKES_RUNS = ("compare",)
_RUN = "runs+="  # before each of several, until all are one list
_TAKES_FOLDER = ("train", "prepare", "analyze", "all", "profile")

# Hydra's own flags, which pass as they are.
HYDRA_SWITCHES = (
    *("-h", "--help", "--hydra-help", "--version", "--resolve", "-r", "--run", "-m", "--multirun"),
    *("-s", "-sc", "--shell-completion"),
)
HYDRA_VALUE_FLAGS = (
    *("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name"),
    *("-cd", "--config-dir", "--experimental-rerun"),
)
HYDRA_INFO_FLAGS = ("-i", "--info")
_HYDRA_INFO_CHOICES = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_FOLDER_FLAGS = ("-cd", "--config-dir", "-cp", "--config-path")

_KEY = re.compile(r"[A-Za-z_][\w\-./$]*(@[\w\-./:]*)?\Z")
_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
# One quoted string, or several with commas between them: a sweep over free texts.
_QUOTED_BY_USER = re.compile(rf"{_QUOTED}(?:\s*,\s*{_QUOTED})*\Z", re.DOTALL)


def to_overrides(command: str, argv: list[str]) -> list[str]:
    """The arguments for Hydra's parser: overrides first, then Hydra's own flags with their values.

    That order matters, as Hydra's parser refuses overrides on both sides of a flag. Raises UserError for an
    argument that is neither `key=value`, nor a flag, nor a file or folder that `command` takes.
    """
    overrides: list[str] = []
    flags: list[str] = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if argument.startswith("-"):
            name, given, value = argument.partition("=")
            if name in HYDRA_SWITCHES and not given:
                flags.append(name)
            elif name in HYDRA_VALUE_FLAGS or name in HYDRA_INFO_FLAGS:
                flags += _hydra_flag(name, value if given else None, rest)
            else:
                overrides.append(_own_flag(command, argument, rest))
        else:
            overrides += _positional(command, argument, overrides) or [_override(command, argument)]
    _refuse_twice(command, overrides)
    if command in _TAKES_FOLDER:
        overrides = _with_folder_data(overrides)
    if command in _TAKES_RUNS:
        overrides = _with_list_of_runs(overrides)
    return overrides + flags


def quote(text: str) -> str:
    r"""`text` as one literal string in Hydra's grammar.

    Two readers unescape it. OmegaConf takes `\${` for a literal `${` and halves the backslashes before it;
    Hydra halves the backslashes before a quote and at the end.
    """
    text = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    text = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", text)
    text = re.sub(r"(\\+)\Z", lambda match: match[1] * 2, text)
    return f"'{text}'"


def is_free_text(key: str) -> bool:
    """Whether the value of `key` (without a leading `+`) is taken literally."""
    parts = key.split(".")
    if _CONDITION.match(key) or parts[-1] in _FREE_AT_ANY_DEPTH or ".".join(parts[-2:]) in FREE_TEXT_KEYS:
        return True
    return ".".join(parts[1:] if parts[0] in _SECTIONS else parts) in FREE_TEXT_KEYS


def _override(command: str, argument: str) -> str:
    """`argument`, a `key=value` or a `~key`, with free text quoted."""
    key, given, value = argument.partition("=")
    bare = key.lstrip("+~")
    if not _KEY.match(bare) or not (given or key.startswith("~")):
        raise UserError(f"cannot make sense of {argument!r}; {_understood(command)}")
    if given and (condition := _CONDITION.match(bare)):
        name = condition[1]
        right = {"all": f"generate.conditions.{name}", **dict.fromkeys(_COMPOSES, f"conditions.{name}")}.get(command)
        if bare != right:
            takes = f"{right}={value}" if right else "no conditions; leave it out"
            if command in _TAKES_CONDITION_NAMES:
                takes = f"the names of what the model is told: conditions=[{name}]"
            raise UserError(f"{argument}: {command} takes {takes}")
        key = f"++{bare}"
    elif given and _PER_TYPE.match(bare):
        key = f"++{bare}"
    if not given or not is_free_text(bare) or value in ("", "null") or _QUOTED_BY_USER.match(value):
        return f"{key}={value}" if given else argument
    return f"{key}={quote(value)}"


def _positional(command: str, argument: str, before: list[str]) -> list[str] | None:
    """The override for a file or folder given by position; None where `argument` is something else.

    before: the overrides so far; of several MIDI files each takes the next key. `seed=3.mid` is a file if it exists.
    For a folder `lr=0.1` the override wins, since sweeps make such folders; `./lr=0.1` is the folder.
    """
    key, given, _ = argument.partition("=")
    names_key = bool(given) and bool(_KEY.match(key.lstrip("+~")))
    if names_key and is_free_text(key.lstrip("+~")):
        return None
    if command in _TAKES_FILE:
        target = _KEY_OF_SUFFIX.get(Path(argument).suffix.lower())
        if target and (not names_key or os.path.exists(argument)):
            keys = _MIDI_KEYS.get(command, (target,)) if target == "prompt" else (target,)
            taken = {override.partition("=")[0] for override in before}
            return [f"{next((name for name in keys if name not in taken), keys[-1])}={quote(argument)}"]
    if command in _TAKES_FOLDER and not names_key and os.path.isdir(argument):
        return [f"data.root={quote(argument)}"]
    if command in _TAKES_RUNS and (not names_key or os.path.exists(argument)):
        return [f"{_RUN}{quote(argument)}"]
    return None


def _with_list_of_runs(overrides: list[str]) -> list[str]:
    """The runs given by position as one list, `runs=[...]`."""
    runs = [override.removeprefix(_RUN) for override in overrides if override.startswith(_RUN)]
    others = [override for override in overrides if not override.startswith(_RUN)]
    return [*([f"runs=[{','.join(runs)}]"] if runs else []), *others]


def _with_folder_data(overrides: list[str]) -> list[str]:
    """Choose `data=folder` where a root is given and no data set is, neither here nor by an experiment."""
    values = {override.partition("=")[0].lstrip("+"): override.partition("=")[2] for override in overrides}
    names = re.findall(r"[\w.-]+", values.get("experiment", ""))  # one, or [several]
    recipes = [path for name in names if (path := conf_dir() / "experiment" / f"{name}.yaml").is_file()]
    chosen = "data" in values or any("override /data:" in path.read_text(encoding="utf-8") for path in recipes)
    if "data.root" in values and not chosen:
        return ["data=folder", *overrides]
    return overrides


def _refuse_twice(command: str, overrides: list[str]) -> None:
    """Raise UserError for a file or folder given twice: Hydra would silently take the last."""
    for key in (*_KEY_OF_SUFFIX.values(), *_MIDI_KEYS.get(command, ()), "data.root"):
        values = [override.partition("=")[2] for override in overrides if override.partition("=")[0] == key]
        if len(values) > 1:
            raise UserError(f"{key} is given twice, as {values[0]} and {values[1]}; {command} takes one")


def _own_flag(command: str, argument: str, rest: list[str]) -> str:
    """`--top-k 40` or `--top-k=40` as `top_k=40`; takes the value from `rest` where it stands there."""
    name, given, value = argument.partition("=")
    key = name[2:].replace("-", "_")
    if not name.startswith("--") or not _KEY.match(key):
        raise UserError(f"unknown option {name!r}; {_understood(command)}")
    if not given:
        value = rest.pop(0) if rest and _is_value(command, key, rest[0]) else "true"
    return _override(command, f"{key}={value}")


def _is_value(command: str, key: str, following: str) -> bool:
    """Whether `following` is the value of the flag `key`, and not the next argument."""
    if following.startswith("-"):
        return bool(re.match(r"-\.?\d", following))
    if is_free_text(key):
        return True
    # `--overwrite seed=3` and `--overwrite song.mid`: no number or choice looks like these.
    names_key = "=" in following and bool(_KEY.match(following.partition("=")[0].lstrip("+~")))
    return not names_key and not (command in _TAKES_FILE and Path(following).suffix.lower() in _KEY_OF_SUFFIX)


def _hydra_flag(name: str, value: str | None, rest: list[str]) -> list[str]:
    """One of Hydra's flags with its value, taken from `rest` where it stands there."""
    if name in HYDRA_INFO_FLAGS:
        if value is None and rest and rest[0] in _HYDRA_INFO_CHOICES:
            value = rest.pop(0)
        return [name] if value is None else [name, value]
    if value is None:
        if not rest:
            raise UserError(f"{name} needs a value")
        value = rest.pop(0)
    # Hydra takes a relative folder from the folder of our source file, which no user means.
    if name in _FOLDER_FLAGS and "://" not in value:
        value = os.path.abspath(os.path.expanduser(value))
    return [name, value]


def _understood(command: str) -> str:
    """What `command` understands, for the end of an error message."""
    kinds = ["key=value", "--key value"]
    if command in _TAKES_FILE:
        midi = " and ".join(_MIDI_KEYS.get(command, ("the prompt",)))
        kinds += [f"a .mid, .midi or .kar file ({midi})", "a .json file (replay)", "a .ckpt folder (checkpoint)"]
    if command in _TAKES_FOLDER:
        kinds.append("an existing folder of MIDI files")
    if command in _TAKES_RUNS:
        kinds.append("evaluations (folders or evaluation.json)")
    return f"{command} understands " + ", ".join(kinds)
