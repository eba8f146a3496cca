"""A player's knobs: MIDI control changes turn the tempo, the temperature and the density of `midifactory live`."""

import difflib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from midifactory.cli.desk import Desk
from midifactory.errors import UserError

# What the values 0 and 127 mean; those between lie evenly. The digits that count.
SPANS = {"tempo": (40.0, 200.0, 0), "temperature": (0.5, 1.5, 2), "density": (0.5, 8.0, 1)}
_MOST = 127
# A knob sends many values while it is turned, each of which would make the music to come be composed anew: of those
# within this time the last is meant.
_REST_SECONDS = 0.1


def check_controls(controls: Any) -> dict[int, str]:
    """What each controller turns. Raises UserError for anything but numbers of controllers and names of SPANS."""
    if not isinstance(controls, Mapping):
        raise UserError(f"controls={controls}: name what each controller turns, such as controls={{1:temperature}}")
    for number, name in controls.items():
        if type(number) is not int or not 0 <= number <= _MOST:
            raise UserError(f"controls: {number} is no controller; give its number, from 0 to {_MOST} (1: the wheel)")
        if name not in SPANS:
            near = difflib.get_close_matches(str(name), SPANS, n=1, cutoff=0.0)[0]
            raise UserError(f"controls: {number} is to turn {name}; it can be {', '.join(SPANS)} (nearest: {near})")
    return dict(controls)


class Knobs:
    """Types at a desk what a player's controllers say; any thread may tell of them."""

    def __init__(self, controls: Mapping[int, str]):
        self._controls = controls
        self._lock, self._turned = threading.Lock(), threading.Event()
        self._last: dict[str, int] = {}

    def turn(self, controller: int, value: int) -> None:
        """A controller has a new value, from 0 to 127; nothing happens for one that turns nothing."""
        if controller in self._controls:
            with self._lock:
                self._last[self._controls[controller]] = value
            self._turned.set()

    def settle(self, desk: Desk, say: Callable[[str], None]) -> None:
        """Type what was last said of each, and say what comes of it."""
        self._turned.clear()
        with self._lock:
            last, self._last = self._last, {}
        for name, value in last.items():
            low, high, digits = SPANS[name]
            try:
                say(desk.type(f"{name} {low + (high - low) * value / _MOST:.{digits}f}"))
            except UserError as error:
                say(str(error))

    def follow(self, desk: Desk, say: Callable[[str], None]) -> None:
        """Do so whenever one was turned, as long as the process lives: for a thread of its own."""
        while True:
            self._turned.wait()
            time.sleep(_REST_SECONDS)
            self.settle(desk, say)
