"""MIDI ports by name, through mido and python-rtmidi, and FluidSynth's loudspeakers as one more of them."""

import difflib
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from midifactory.errors import UserError
from midifactory.render.audio import soundfont_path

FLUIDSYNTH, VIRTUAL = "fluidsynth", "virtual"
_NAME = "midifactory"  # of virtual ports
_START_SECONDS = 1.0  # in which FluidSynth notices that it has no audio device

Send = Callable[[bytes], None]
Close = Callable[[], None]


def port_names() -> tuple[list[str], list[str]]:
    """The outputs and the inputs of this machine.

    Raises UserError where the packages are missing or the system offers no MIDI.
    """
    try:
        import mido

        return list(mido.get_output_names()), list(mido.get_input_names())
    except ImportError as error:
        raise UserError(
            f"MIDI ports need mido and python-rtmidi ({error}); pip install 'midifactory[live]', "
            f"or play by port={FLUIDSYNTH} or into file=OUT.mid alone"
        ) from error
    except Exception as error:  # rtmidi's own, of each system's interface
        raise UserError(
            f"this machine's MIDI system cannot be opened ({error}); "
            f"play by port={FLUIDSYNTH} or into file=OUT.mid alone"
        ) from error


def describe_ports() -> str:
    """All ports, a line each."""
    outputs, inputs = port_names()
    lines = [f"port={name}" for name in outputs] or ["no output ports"]
    lines += [f"input={name}" for name in inputs] or ["no input ports"]
    lines.append(f"port={VIRTUAL}, input={VIRTUAL}: ports of our own that other programs can connect to")
    return "\n".join([*lines, f"port={FLUIDSYNTH}: this machine's loudspeakers, where FluidSynth is installed"])


def find_port(option: str, asked: str, names: Sequence[str]) -> str:
    """The one of `names` that is asked for, in full or by a part. Raises UserError where none or several are."""
    if asked in names:
        return asked
    fitting = [name for name in names if asked.lower() in name.lower()]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UserError(f"{option}={asked}: several ports are so called: {', '.join(fitting)}; give more of the name")
    own = f"{option}={VIRTUAL} makes one that other programs can connect to"
    if not names:
        raise UserError(f"{option}={asked}: no such MIDI port, and no other; start the program that has it, or {own}")
    near = difflib.get_close_matches(asked, names, n=1, cutoff=0.0)[0]
    raise UserError(f"{option}={asked}: no such MIDI port; there are {', '.join(names)} (nearest: {near}); {own}")


def open_output(asked: str) -> tuple[Send, Close]:
    """What sends a message to the port, and what closes it. Raises UserError where it is not there."""
    if asked == FLUIDSYNTH:
        return _open_fluidsynth()
    names, _ = port_names()
    import mido

    if asked == VIRTUAL:
        port = _opened("port", asked, lambda: mido.open_output(_NAME, virtual=True))
    else:
        name = find_port("port", asked, names)
        port = _opened("port", name, lambda: mido.open_output(name))

    def send(message: bytes) -> None:
        try:
            port.send(mido.Message.from_bytes(message))
        except Exception as error:
            raise UserError(f"port={asked}: it takes no more messages ({error}); connect it and start again") from error

    return send, port.close


def open_input(asked: str, hear: Callable[[Sequence[int]], None]) -> Close:
    """Let `hear` be called with the bytes of every message of the port, by a thread of its own; returns what ends it.

    Raises UserError where the port is not there.
    """
    _, names = port_names()
    import mido

    def callback(message: Any) -> None:
        hear(message.bytes())

    if asked == VIRTUAL:
        return _opened("input", asked, lambda: mido.open_input(_NAME, virtual=True, callback=callback)).close
    name = find_port("input", asked, names)
    return _opened("input", name, lambda: mido.open_input(name, callback=callback)).close


def _opened(option: str, name: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:  # rtmidi's own, and what systems without virtual ports say
        raise UserError(f"{option}={name}: it cannot be opened ({error}); is another program using it?") from error


def _open_fluidsynth() -> tuple[Send, Close]:
    """FluidSynth as a process, which is told by the lines of its own command shell."""
    binary, font = shutil.which("fluidsynth"), soundfont_path()
    if binary is None:
        raise UserError(
            f"port={FLUIDSYNTH}: FluidSynth is not installed (apt-get install fluidsynth, or brew install fluid-synth)"
        )
    process = subprocess.Popen(
        [binary, "-q", str(font)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us: it is silenced in an orderly way
    )
    try:
        process.wait(_START_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    else:
        assert process.stderr is not None
        lines = process.stderr.read().strip().splitlines()
        raise UserError(f"port={FLUIDSYNTH}: it cannot play here ({lines[-1] if lines else 'no reason given'})")
    pipe = process.stdin
    assert pipe is not None

    def send(message: bytes) -> None:
        try:
            pipe.write(_shell_line(message))
            pipe.flush()
        except OSError as error:
            raise UserError(f"port={FLUIDSYNTH}: FluidSynth has ended ({error.strerror}); start again") from error

    def close() -> None:
        time.sleep(0.3)  # the last notes ring out
        process.terminate()
        process.wait()

    return send, close


def _shell_line(message: bytes) -> str:
    """A message as FluidSynth's shell has it."""
    kind, channel = message[0] & 0xF0, message[0] & 0x0F
    words = {0x80: "noteoff {0} {1}", 0x90: "noteon {0} {1} {2}", 0xC0: "prog {0} {1}", 0xB0: "cc {0} {1} {2}"}
    return words[kind].format(channel, *message[1:]) + "\n"
