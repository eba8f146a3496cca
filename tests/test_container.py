"""What the Dockerfile and its neighbours name is there, since no test builds an image."""

import importlib.util
import json
import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from midifactory.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def instructions(text):
    """(name, rest) of each instruction of a Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.strip().split(maxsplit=1)) for line in text.splitlines() if line.strip()]


FILE = instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def all_of(name):
    return [rest for instruction, rest in FILE if instruction == name]


def test_the_reader_reads():
    text = '# no\nFROM a\nRUN one \\\n  && two\nCMD ["x"]\n'
    assert instructions(text) == [("FROM", "a"), ("RUN", "one    && two"), ("CMD", '["x"]')]


def test_its_extras_exist():
    (package,) = [re.search(r'pip install .*"\.\[(.*)\]"', rest) for rest in all_of("RUN") if '".[' in rest]
    extras = set(package[1].split(","))
    assert "serve" in extras
    assert extras - {"serve"} <= set(PROJECT["optional-dependencies"])
    if importlib.util.find_spec("midifactory.serve"):
        assert "serve" in PROJECT["optional-dependencies"]


def test_its_torch_is_the_packages():
    (torch,) = [item for item in PROJECT["dependencies"] if item.startswith("torch>")]
    assert any(torch in shlex.split(rest) for rest in all_of("RUN"))


def test_what_it_copies_is_there_and_not_ignored():
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    sources = {name for rest in all_of("COPY") for name in rest.split()[:-1]}
    for name in sources:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in rules
    needed = {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "src", "conf"}
    assert sources == needed
    assert any(fnmatch("x.egg-info", rule.removeprefix("**/")) for rule in rules)


def test_it_starts_our_command_as_an_ordinary_user():
    assert json.loads(all_of("ENTRYPOINT")[0]) == ["midifactory"]
    assert "midifactory" in PROJECT["scripts"]
    users = [index for index, (name, _) in enumerate(FILE) if name == "USER"]
    assert FILE[users[-1]][1] not in ("root", "0")
    assert users[-1] < [name for name, _ in FILE].index("ENTRYPOINT")
    assert any(f"useradd --create-home --uid 1000 {FILE[users[-1]][1]}" in rest for rest in all_of("RUN"))
    assert any("fluidsynth" in shlex.split(rest) for rest in all_of("RUN"))


@pytest.mark.skipif(not importlib.util.find_spec("midifactory.serve"), reason="this package has no server")
def test_the_server_is_reached_where_its_health_is_asked():
    command, *arguments = json.loads(all_of("CMD")[-1])
    assert command in COMMANDS
    settings = yaml.safe_load((ROOT / "conf" / f"{command}.yaml").read_text(encoding="utf-8"))
    given = dict(argument.split("=") for argument in arguments)
    assert given.keys() <= settings.keys()
    assert f":{settings['port']}/v1/health" in all_of("HEALTHCHECK")[0]
    assert all_of("EXPOSE") == [str(settings["port"])]


def test_the_compose_file_runs_the_same_image():
    (service,) = yaml.safe_load((ROOT / "scripts" / "compose.yaml").read_text())["services"].values()
    assert (ROOT / "scripts" / service["build"] / "Dockerfile").is_file()
    assert service["command"] == json.loads(all_of("CMD")[-1])
    (port,) = service["ports"]
    assert port == f"127.0.0.1:{all_of('EXPOSE')[0]}:{all_of('EXPOSE')[0]}"
    (volume,) = service["volumes"]
    assert volume.endswith(f":{all_of('WORKDIR')[-1]}/outputs")
