"""Imports point down only: music <- tokens, render <- evaluation, data, generation <- training <- cli."""

import ast
from pathlib import Path

import pytest

import midifactory

SOURCE = Path(midifactory.__file__).parent
FLOOR = {"errors", "files", "paths", "targets"}
# What each package may import of ours, besides itself and the floor.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "files": set(),
    "paths": set(),
    "targets": set(),
    "music": set(),
    "tokens": {"music"},
    "render": {"music"},
    "evaluation": {"music", "tokens"},
    "models": set(),
    "data": {"tokens", "music"},
    "generation": {"tokens", "models", "music", "data"},
    "training": {"models", "data", "tokens", "music", "render"},
    "djai": {"training", "generation", "models", "data", "tokens", "music"},
    "export": {"training", "generation", "models", "data", "tokens", "music"},
    "serve": {"music", "tokens", "render", "evaluation", "models", "data", "generation", "training"},
    "cli": {"music", "tokens", "render", "evaluation", "models", "data", "generation", "training", "export", "serve"},
}
HEAVY = {"torch", "lightning", "pytorch_lightning", "hydra", "omegaconf"}
FORBIDDEN = {"music": HEAVY, "render": HEAVY}


def modules() -> dict[str, Path]:
    """Dotted names of all modules of ours."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ["midifactory", *path.relative_to(SOURCE).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """Dotted names that a module imports anywhere in it, as it writes them; a relative one counts as absolute."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
                base = package.split(".")[: len(package.split(".")) - node.level + 1]
                module = ".".join([*base, module]).rstrip(".")
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


def our_imports(name: str) -> set[str]:
    return {other for other in imports(name) if other in MODULES and other not in {"midifactory", name}}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("name", [name for name in MODULES if room(name)])
def test_imports_point_down_only(name):
    assert room(name) in ALLOWED, f"{room(name)} has no place in the layers; give it one in ALLOWED"
    permitted = ALLOWED[room(name)] | FLOOR | {room(name)}
    upward = {other for other in our_imports(name) if room(other) not in permitted}
    assert not upward, f"{name} imports upward: {sorted(upward)}"


def test_the_package_itself_imports_nothing():
    """`import midifactory` is free: it loads no torch and no subpackage."""
    assert not {other for other in imports("midifactory") if other.split(".")[0] in HEAVY | {"midifactory"}}


def test_no_circle_of_imports():
    graph = {name: our_imports(name) for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"circular: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    assert done == set(MODULES)


@pytest.mark.parametrize("name", [name for name in MODULES if room(name)])
def test_heavy_packages_stay_in_their_rooms(name):
    """No torch or Lightning in music and render; Hydra and OmegaConf in cli alone; models know torch alone."""
    forbidden = FORBIDDEN.get(room(name), set())
    if room(name) != "cli":
        forbidden = forbidden | {"hydra", "omegaconf"}
    if room(name) == "models":
        forbidden = forbidden | {"lightning", "pytorch_lightning", "miditok", "symusic", "numpy"}
    found = {other.split(".")[0] for other in imports(name)} & forbidden
    assert not found, f"{name} imports {sorted(found)}"


def test_the_reader_sees_every_form_of_import(tmp_path, monkeypatch):
    """The test of this test: inside functions, relative, with and without a name."""
    path = tmp_path / "sample.py"
    path.write_text(
        "import torch.nn\nfrom midifactory.music import score\nfrom . import grammar\nfrom ..data import batches\n"
        "def f():\n    from midifactory.cli.main import main\n"
    )
    monkeypatch.setitem(MODULES, "midifactory.tokens.sample", path)
    assert "torch.nn" in imports("midifactory.tokens.sample")
    assert our_imports("midifactory.tokens.sample") >= {
        "midifactory.music.score",
        "midifactory.tokens.grammar",
        "midifactory.data.batches",
        "midifactory.cli.main",
    }
