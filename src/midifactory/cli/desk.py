"""What a user types while music plays: `tempo 140`, `instruments piano,bass`, `quit`."""

import difflib
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from midifactory.errors import UserError
from midifactory.generation.live import Live
from midifactory.generation.sampling import Sampling
from midifactory.generation.wishes import Wishes

# Command: what to give it, and what it does.
COMMANDS = {
    "tempo": ("140|off", "beats per minute, at once; off: the model's own"),
    "temperature": ("1.1", "below 1 careful, above 1 bold"),
    "density": ("4|off", "notes in a quarter note, all instruments together"),
    "instruments": ("piano,bass|off", "which may play; off: all that the model has"),
    "polyphony": ("3|off", "how many notes may sound at once"),
    "key": ("D minor|off", "the key that is preferred"),
    "harmony": ("C Am F G|off", "a chord for each bar"),
    "help": ("", "these commands"),
    "quit": ("", "end"),
}
_OFF = "off"


class Desk:
    """Turns what is typed into what is asked of the music from then on.

    settings: what was asked last, by the names of conf/live.yaml; wishes and sampling come of it.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        wish: Callable[[dict[str, Any]], Wishes],
        live: Live,
        go_on: Callable[[Wishes, Sampling], None],
        sampling: Sampling,
    ):
        """wish: checks settings and makes wishes of them; go_on: lets the music follow."""
        self.settings, self.sampling = settings, sampling
        self._wish, self._live, self._go_on = wish, live, go_on
        self._lock = threading.Lock()

    def type(self, line: str) -> str:
        """Do what a line says; returns what to answer. Raises UserError, changing nothing, where it cannot be done.

        Any thread may call it.
        """
        with self._lock:
            return self._do(line)

    def _do(self, line: str) -> str:
        name, _, value = line.strip().partition(" ")
        name, value = name.lower(), value.strip().lstrip("=").strip()
        if name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.0)[0]
            raise UserError(f"{name}: no such command (nearest: {near}); help lists them")
        takes, _ = COMMANDS[name]
        if bool(takes) != bool(value):
            raise UserError(f"{line.strip()}: write {name} {takes}".rstrip())
        if name == "help":
            return "\n".join(f"{name} {takes}".ljust(28) + purpose for name, (takes, purpose) in COMMANDS.items())
        if name == "quit":
            self._live.stop()
            return "ending"
        if name == "tempo":
            self._live.set_tempo(None if value == _OFF else _number(name, value))
            return f"tempo {value} from now on"
        settings, sampling = dict(self.settings), self.sampling
        if name == "temperature":
            sampling = replace(sampling, temperature=_number(name, value))
        else:
            settings[name] = None if value == _OFF else _read(name, value)
        self._go_on(self._wish(settings), sampling)
        self.settings, self.sampling = settings, sampling
        return f"{name} {value} from the next bar on"

    def listen(self, lines: Iterable[str], say: Callable[[str], None]) -> None:
        """Do what each line says, and say what comes of it; empty lines are none."""
        for line in lines:
            if line.strip():
                try:
                    say(self.type(line))
                except UserError as error:
                    say(str(error))


def _read(name: str, value: str) -> Any:
    if name == "instruments":
        names = [part.strip() for part in value.split(",")]
        return [int(part) if part.lstrip("-").isdigit() else part for part in names]
    if name == "polyphony":
        return round(_number(name, value))
    return _number(name, value) if name == "density" else value


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise UserError(f"{name} {value}: write {name} {COMMANDS[name][0]}") from error
