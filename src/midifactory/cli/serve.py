"""`midifactory serve`: trained models over HTTP, several requests composed in one batch."""

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from midifactory.cli import hydra_app
from midifactory.cli.building import default_device, plain
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.cli.styles import styles
from midifactory.errors import UserError
from midifactory.models.quantise import quantise
from midifactory.music.instruments import listed
from midifactory.render.audio import soundfont_path
from midifactory.training.checkpoint import Trained, load_trained
from midifactory.training.notes import holds_notes

TOKEN_VARIABLE = "MIDIFACTORY_TOKEN"
_LEAST_TOKEN = 16


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("serve", run, sys.argv[1:] if argv is None else argv)


def run(config: DictConfig) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(f'serve: the package {error.name} is missing; pip install "midifactory[serve]"') from error
    from midifactory.serve.server import Server, check_host
    from midifactory.serve.server import run as run_server

    if (type(config.port) is not int and not str(config.port).isdigit()) or not 0 <= int(config.port) < 1 << 16:
        raise UserError(f"port={config.port}: give a number from 0 (any that is free) to 65535")
    if config.minutes is not None and (type(config.minutes) not in (int, float) or not config.minutes > 0):
        raise UserError(f"minutes={config.minutes}: give a number above 0, or null to serve until Ctrl-C")
    token = read_token(config.token_file)
    check_host(str(config.host), token, bool(config.open_to_all))
    app = build_app(config, token)
    shelf = app.state.shelf
    for name, served in shelf.models.items():
        print(f"model {name}: {served.trained.path.resolve()}")

    def ready(url: str) -> None:
        page = "open this address in a browser; " if app.state.options.page is not None else ""
        print(f"{url}  ({page}POST /v1/generate; /openapi.json describes it; Ctrl-C ends it)", flush=True)

    def signalled(again: bool) -> None:
        if again:
            shelf.close(abort=True)
        else:
            print("ending: what runs is finished first; once more Ctrl-C ends at once", flush=True)

    run_server(Server(app, str(config.host), int(config.port), ready, signalled, config.minutes))
    print("ended")


def build_app(config: DictConfig, token: str | None) -> Any:
    """The application of a composed conf/serve.yaml, its models loaded."""
    from midifactory.serve.app import Options, create_app
    from midifactory.serve.asking import Style
    from midifactory.serve.page import BUILT
    from midifactory.serve.server import is_loopback
    from midifactory.serve.shelf import Limits, Shelf
    from midifactory.serve.votes import Votes

    limits = Limits(**plain(config.limits))
    shelf = Shelf(loaders(config), limits)
    known = {name: Style(line, settings) for name, (line, settings) in style_settings().items()}
    defaults = {**plain(config.generate), "style": "free"}
    reload = token is not None or is_loopback(str(config.host))
    origins = [str(origin) for origin in config.cors]
    sound = soundfont_path() if config.soundfont is None else Path(config.soundfont).expanduser()
    if config.soundfont is not None and not sound.is_file():
        raise UserError(f"soundfont={config.soundfont}: no such file; give the path of an .sf2 file, or null")
    page = BUILT if config.studio and (BUILT / "index.html").is_file() else None
    votes = None if config.votes is None else Votes(Path(config.votes).expanduser())
    return create_app(shelf, known, Options(limits, token, origins, reload, defaults, page, sound, votes))


def read_token(file: str | None) -> str | None:
    """The token that clients must send, None for none. Raises UserError for one that is short or not to be read."""
    token, source = os.environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE
    if file:
        source = f"token_file={file}"
        try:
            lines = Path(file).expanduser().read_text(encoding="ascii").splitlines()
        except (OSError, ValueError) as error:
            raise UserError(f"token_file={file}: it cannot be read ({error}); give a file of one line") from error
        token = lines[0].strip() if lines else ""
    if token is None:
        return None
    if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(
            f"{source}: a token has at least {_LEAST_TOKEN} printable letters; make one: openssl rand -hex 24"
        )
    return token


def loaders(config: DictConfig) -> list[tuple[str, Callable[[], Trained]]]:
    """A name for each model of `checkpoint`, and what loads it; a run's newest checkpoint each time anew."""
    given = [] if config.checkpoint is None else listed(config.checkpoint)
    found: list[tuple[str, Callable[[], Trained]]] = []
    for text in given or [""]:
        name, path = text.partition("=")[::2] if "=" in text and not Path(text).exists() else ("", text)
        found_at = _resolved(path)
        name = name.strip() or _name_of(found_at)
        while any(name == other for other, _ in found):
            name += "-2"
        found.append((name, _Loader(path, found_at, config.device, config.int8)))
    return found


class _Loader:
    """Finds and loads the checkpoint that a text means."""

    def __init__(self, text: str, first: Path, device: str, int8: bool):
        """first: where it was when the server started."""
        self.text, self.first, self.device, self.int8 = text, first, device, int8
        self._loaded = False
        self._lock = threading.Lock()

    def __call__(self) -> Trained:
        with self._lock:
            path = _resolved(self.text) if self._loaded else self.first
            self._loaded = True
            if holds_notes(str(path)):
                raise UserError(f"checkpoint={path}: this model is of note features; serve needs one of tokens")
            trained = load_trained(path, default_device(self.device, "device"))
            return replace(trained, model=quantise(trained.model)) if self.int8 else trained


def _resolved(text: str) -> Path:
    return checkpoint_in(text) if text else newest_checkpoint()


def _name_of(path: Path) -> str:
    """A run's folder, or the checkpoint's own name."""
    resolved = path.resolve()
    name = resolved.parent.parent.name if resolved.parent.name == "checkpoints" else resolved.stem
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in name)


def style_settings() -> dict[str, tuple[str, dict[str, Any]]]:
    """The line and the settings of each style, those of the user's own config folders among them."""
    sources = HydraConfig.get().runtime.config_sources
    folders = [Path(source.path) for source in sources if source.schema == "file" and source.path]
    found = {}
    for name, line in sorted(styles(folders).items()):
        config = hydra.compose("composing", [f"style={name}"])
        found[name] = (line, plain(config.style))
    return found
