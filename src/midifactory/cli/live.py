"""`midifactory live`: music without an end, to a MIDI port and a file, turned as it plays, or answering a player."""

import ctypes
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from midifactory.cli import hydra_app
from midifactory.cli.building import plain
from midifactory.cli.desk import Desk
from midifactory.cli.generate import load_checkpoint, read_prompt, read_settings
from midifactory.cli.knobs import Knobs, check_controls
from midifactory.cli.ports import describe_ports, open_input, open_output
from midifactory.errors import UserError
from midifactory.generation.asked import asked_conditions, build_style, check_numbers, read_sampling
from midifactory.generation.endless import Endless, Manner
from midifactory.generation.listening import Listener, Phrase, phrase_score
from midifactory.generation.live import Clock, Live, SystemClock
from midifactory.generation.pieces import opening_of_style, prompt_opening
from midifactory.generation.sampling import Sampling
from midifactory.generation.sinks import FileSink, PortSink, Sink
from midifactory.generation.styles import Opening, program_row
from midifactory.generation.wishes import Wishes, bind_controls, bind_range, parse_metre, parse_wishes
from midifactory.music.instruments import DRUMS
from midifactory.tokens.grid import VoiceGrid
from midifactory.training.checkpoint import Trained
from midifactory.training.notes import holds_notes

# What makes finished pieces out of a stream, with what leaves it as it is.
_OF_PIECES: dict[str, Any] = {
    **dict.fromkeys(("replay", "bars", "seconds", "tokens", "at_once", "max_copy_beats")),
    **{"num_samples": 1, "best_of": 1, "grammar": True},
}
_MMAP_THRESHOLD, _LARGE_BYTES = -3, 1 << 18  # mallopt's number for it


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    argv = sys.argv[1:] if argv is None else argv
    if argv in (["--ports"], ["ports=true"]):  # without a run's folder
        try:
            print(describe_ports())
        except UserError as error:
            raise SystemExit(hydra_app.report(error)) from error
        return
    hydra_app.run("live", run, argv)


def run(config: DictConfig) -> Path | None:
    """Play; returns the MIDI file of what was played, None where nothing was."""
    if config.ports:
        print(describe_ports())
        return None
    settings = _checked(config)
    keep_memory_flat()
    path = Path(config.file).expanduser() if config.file else Path(config.run_dir) / "live.mid"
    metre = parse_metre(settings["metre"]) if settings["metre"] else None
    clock, sinks, quit_early = SystemClock(), list[Sink](), True
    with ExitStack() as stack:
        stack.callback(lambda: _close(sinks, drain=not quit_early))
        port = None
        if config.port:
            sinks.append(port := PortSink(*open_output(str(config.port)), clock))
        sinks.append(FileSink(path, metre))
        listener = Listener(config.silence_ms / 1000) if config.input and config.answer_bars is not None else None
        knobs = Knobs(check_controls(plain(config)["controls"] or {}))
        if config.input:
            stack.callback(open_input(str(config.input), lambda message: hear(message, listener, clock, knobs)))
        band = Band(_load(settings), settings, config, listener, clock)
        _announce(config, path)
        threading.Thread(target=_read_desk, args=(band.desk,), name="desk", daemon=True).start()
        threading.Thread(target=knobs.follow, args=(band.desk, _say), name="knobs", daemon=True).start()
        notes = band.live.notes(config.minutes * 60 if config.minutes else None)
        with _stopped_by_signals(band.live), closing(notes):
            for note in notes:
                for sink in sinks:
                    sink.play(note)
        quit_early = band.live.stopped
    report = band.live.report
    print(report)
    if port is not None:
        print(f"messages were sent at most {1000 * port.most_behind_seconds:.1f} ms after their time")
    if report.notes:
        print(path.resolve())
    return path if report.notes else None


class Band:
    """A trained model that plays as the settings say, and as what is typed at its `desk` says.

    settings: of conf/composing.yaml. listener: whom it answers, where there is one.
    """

    def __init__(
        self,
        trained: Trained,
        settings: dict[str, Any],
        config: DictConfig,
        listener: Listener | None,
        clock: Clock,
        in_background: bool = True,
    ):
        self.trained, self.settings = trained, settings
        conditions = asked_conditions(trained, settings)
        labels = conditions.labels[0] if conditions is not None and conditions.labels is not None else None
        self.wishes = self._wish(settings)
        self.sampling = read_sampling(settings)
        self._endless = Endless(
            trained, settings["key_strength"], settings["seed"], settings["window"], labels, settings["guidance"]
        )
        tempo_bpm = settings["tempo_bpm"]
        if listener is not None:
            if isinstance(trained.tokenizer, VoiceGrid):
                raise UserError("input: a voice grid has four voices at every step, so a phrase is no prompt to it")
            tempo_bpm = tempo_bpm or trained.profile["tempo_bpm"]
        self.live = Live(
            self._endless,
            clock,
            config.lookahead_ms / 1000,
            config.ahead_seconds,
            tempo_bpm,
            in_background,
            listener,
            self._respond,
            config.answer_bars or 0,
        )
        self.desk = Desk(settings, self._wish, self.live, self._go_on, self.sampling)
        if listener is None:
            opening = self._opening()
            self.live.begin(opening, self._endless.manner(self.wishes, self.sampling, opening))

    def _wish(self, settings: dict[str, Any]) -> Wishes:
        trained = self.trained
        names = ("key", "tempo_bpm", "metre", "chords")
        wishes = parse_wishes(trained.profile, *(settings[name] for name in names))
        wishes = bind_range(wishes, settings["pitch_range"], trained.tokenizer)
        return bind_controls(wishes, settings, trained.tokenizer)

    def _opening(self) -> Opening:
        settings, tokenizer = self.settings, self.trained.tokenizer
        if settings["prompt"]:
            bars, notes = settings["prompt_bars"], settings["prompt_notes"]
            return prompt_opening(read_prompt(settings), tokenizer, bars, notes, self.wishes)
        return opening_of_style(build_style(settings["style"]), self.wishes, tokenizer)

    def _go_on(self, wishes: Wishes, sampling: Sampling) -> None:
        """Let what comes follow other wishes; an answer that is still to be given, too."""
        if not self._endless.resting:
            self.live.turn(self._endless.manner(wishes, sampling))
        self.wishes, self.sampling = wishes, sampling

    def _respond(self, phrase: Phrase, tempo_bpm: float) -> tuple[Opening, Manner] | None:
        """How the answer to a phrase begins: with the phrase as its prompt; None where it cannot be one."""
        wishes = self.wishes
        print(f"heard {len(phrase)} notes", flush=True)
        try:
            drums_alone = wishes.programs == (DRUMS,)
            program = DRUMS if drums_alone else program_row(wishes, None, highest=True)["program"]
            metre = wishes.metre or wishes.profile["metre"]
            score = phrase_score(phrase, tempo_bpm, parse_metre(metre), program)
            opening = prompt_opening(score, self.trained.tokenizer, None, None, wishes)
            return opening, self._endless.manner(wishes, self.sampling, opening)
        except UserError as error:
            print(f"no answer: {error}", flush=True)
            return None


def keep_memory_flat() -> None:
    """Let large blocks of memory go back to the system whenever they are freed.

    glibc would rather keep them, and its heap would grow by what lies between them: by some 10 MB in a minute of music.
    Other systems' allocators have no such setting.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)


def hear(message: Sequence[int], listener: Listener | None, clock: Clock, knobs: Knobs | None = None) -> None:
    """Tell the listener of a MIDI message, if it is a note's, and the knobs, if it is a controller's."""
    kind = message[0] & 0xF0
    if kind == 0xB0 and knobs is not None:
        knobs.turn(message[1], message[2])
    elif listener is None:
        return
    elif kind == 0x90:
        listener.note_on(message[1], message[2], clock.monotonic())
    elif kind == 0x80:
        listener.note_off(message[1], clock.monotonic())


def _checked(config: DictConfig) -> dict[str, Any]:
    """The settings of conf/composing.yaml. Raises UserError for what a stream has not, and for values out of bounds."""
    for name, usual in _OF_PIECES.items():
        if config[name] != usual:
            raise UserError(f"{name}={config[name]}: live plays one stream of lawful music; leave it out")
    for name in ("lookahead_ms", "ahead_seconds", "silence_ms", "minutes"):
        value = config[name]
        if not (value is None and name == "minutes") and (type(value) not in (int, float) or not 0 < value < math.inf):
            raise UserError(f"{name}={value}: give a number above 0")
    answer = config.answer_bars
    if answer is not None and (type(answer) is not int or answer < 1):
        raise UserError(f"answer_bars={answer}: give a whole number of at least 1, or null for no answers")
    if config.controls is not None:
        check_controls(plain(config)["controls"])
        if not config.input:
            raise UserError("controls: whose? give the MIDI input that has them, input=NAME (--ports lists them)")
    if config.input and answer is None and config.controls is None:
        raise UserError(
            "answer_bars=null: the input would change nothing; give controls={1:temperature} or answer_bars"
        )
    if config.input and config.prompt and answer is not None:
        raise UserError(f"prompt={config.prompt} and input={config.input}: the player is the prompt; leave one out")
    settings = read_settings(config)
    check_numbers(settings)
    return settings


def _load(settings: dict[str, Any]) -> Trained:
    checkpoint = settings["checkpoint"]
    if holds_notes(checkpoint):
        raise UserError(f"checkpoint={checkpoint}: this model is of note features; live needs one of tokens")
    trained = load_checkpoint(settings, None)
    assert isinstance(trained, Trained)
    return trained


def _close(sinks: Sequence[Sink], drain: bool) -> None:
    for sink in reversed(sinks):
        sink.close(drain)


def _announce(config: DictConfig, path: Path) -> None:
    answering = config.input and config.answer_bars is not None
    doing = f"listening to {config.input}, answering" if answering else "playing"
    print(doing, *([f"by {config.port}"] if config.port else []), f"into {path.resolve()}")
    if not config.port:
        print("no port: nothing is heard; port=fluidsynth plays through the loudspeakers, --ports lists the others")
    print("type tempo 140, temperature 1.1, density 4, instruments NAME,NAME or quit; help lists all", flush=True)


def _read_desk(desk: Desk) -> None:
    with suppress(OSError, ValueError):  # no terminal, or one that is gone
        desk.listen(_typed_lines(), _say)


def _say(text: str) -> None:
    print(text, flush=True)


def _typed_lines() -> Iterator[str]:
    """The lines of standard input, read without its buffer: the process could not end while a thread waits in that."""
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # no file: a test's, a notebook's
        yield from sys.stdin or ()
        return
    rest = b""
    while data := os.read(descriptor, 4096):
        *lines, rest = (rest + data).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
    yield rest.decode(errors="replace")


@contextmanager
def _stopped_by_signals(live: Live) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the music in good order; a second one means what it always does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: object) -> None:
        restore()
        live.stop()

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
