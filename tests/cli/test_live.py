"""`midifactory live` as it is typed: what is written, what may be typed meanwhile, and ports that are not there."""

import io
import os
import signal
import stat
import sys
from types import SimpleNamespace

import mido
import pytest
from symusic import Score

from cli.conftest import run_command
from midifactory.cli import ports
from midifactory.cli.desk import COMMANDS, Desk
from midifactory.cli.knobs import SPANS, Knobs
from midifactory.cli.live import hear
from midifactory.cli.main import main
from midifactory.errors import UserError
from midifactory.generation.listening import Listener
from midifactory.generation.sampling import Sampling
from midifactory.generation.sinks import FileSink

SHORT = ("tempo_bpm=240", "density=4", "minutes=0.06")


class FakePort:
    """A port of a machine that has these."""

    def __init__(self, name, virtual=False, callback=None):
        self.name, self.virtual, self.callback, self.sent, self.closed = name, virtual, callback, [], False

    def send(self, message):
        assert not self.closed
        self.sent.append(message)

    def close(self):
        self.closed = True


@pytest.fixture
def machine(monkeypatch):
    """A machine with two outputs and an input; `opened` are the ports that were."""
    opened = []

    def opener(name, **options):
        opened.append(FakePort(name, **options))
        return opened[-1]

    monkeypatch.setattr(mido, "get_output_names", lambda: ["Studio Synth:in 20:0", "Studio Drums:in 21:0"])
    monkeypatch.setattr(mido, "get_input_names", lambda: ["Keys 24:0"])
    monkeypatch.setattr(mido, "open_output", opener)
    monkeypatch.setattr(mido, "open_input", opener)
    return opened


@pytest.fixture
def typed(monkeypatch):
    """A function that types lines into the next command."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_what_is_played_is_in_the_file_and_went_to_the_port(in_studio, tmp_path, machine, typed):
    typed("temprature 2\ntempo 300\ndensity 5\n")
    done = in_studio("live", f"file={tmp_path}/my jam.mid", "port=synth", *SHORT)
    assert done.code == 0, done
    notes = [note for track in Score(tmp_path / "my jam.mid").tracks for note in track.notes]
    assert "temprature: no such command (nearest: temperature)" in done.out
    assert "density 5 from the next bar on" in done.out
    assert f"{len(notes)} notes, " in done.out
    (port,) = machine
    assert port.name == "Studio Synth:in 20:0"
    assert port.closed
    assert sorted(message.note for message in port.sent if message.type == "note_on") == sorted(n.pitch for n in notes)
    assert sum(message.type == "note_off" for message in port.sent) == len(notes) > 0


def test_the_same_seed_plays_the_same_notes(in_studio, tmp_path, typed):
    files = []
    for number in range(2):
        assert in_studio("live", f"file={tmp_path}/{number}.mid", "seed=4", *SHORT).code == 0
        score = Score(tmp_path / f"{number}.mid")
        files.append(sorted((n.time, n.pitch, n.duration) for track in score.tracks for n in track.notes))
    count = min(map(len, files)) // 2  # how many there are hangs on the machine's speed
    assert files[0][:count] == files[1][:count] != []


def test_ctrl_c_ends_it_in_good_order(in_studio, tmp_path, machine, typed, monkeypatch):
    play, count = FileSink.play, []

    def interrupted(self, note):
        play(self, note)
        count.append(note)
        if len(count) == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(FileSink, "play", interrupted)
    done = in_studio("live", f"file={tmp_path}/jam.mid", "port=drums", *SHORT[:2])
    assert done.code == 0, done
    assert sum(len(track.notes) for track in Score(tmp_path / "jam.mid").tracks) == len(count) >= 5
    assert os.listdir(tmp_path) == ["jam.mid"]
    assert machine[0].closed
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_while_it_plays_leaves_what_was_played(in_studio, tmp_path, machine, typed, monkeypatch):
    def send(self, message):
        raise OSError("unplugged")

    monkeypatch.setattr(FakePort, "send", send)
    done = in_studio("live", f"file={tmp_path}/jam.mid", "port=drums", *SHORT)
    assert done.code == 2
    assert "port=drums: it takes no more messages (unplugged)" in done.message
    assert os.listdir(tmp_path) == ["jam.mid"]


def test_a_player_is_answered(in_studio, tmp_path, machine, typed, monkeypatch):
    play, opener = FileSink.play, mido.open_input

    def open_and_play(name, **options):
        port = opener(name, **options)
        for kind, pitch in (("note_on", 60), ("note_off", 60), ("note_on", 64), ("note_off", 64)):
            port.callback(mido.Message(kind, note=pitch, velocity=80))
        port.callback(mido.Message("clock"))
        return port

    def stop_after_some(self, note):
        play(self, note)
        if self._notes == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(mido, "open_input", open_and_play)
    monkeypatch.setattr(FileSink, "play", stop_after_some)
    done = in_studio("live", f"file={tmp_path}/jam.mid", "input=keys", "silence_ms=50", "tempo_bpm=240", "density=4")
    assert done.code == 0, done
    assert "heard 2 notes" in done.out
    assert machine[0].closed
    assert (tmp_path / "jam.mid").is_file()


def test_ports_are_listed(here, machine, capsys):
    assert main(["live", "--ports"]) is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["port=Studio Synth:in 20:0", "port=Studio Drums:in 21:0", "input=Keys 24:0"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["port=Sinth"], ["port=Sinth: no such MIDI port", "Studio Synth:in 20:0, Studio Drums:in 21:0", "nearest"]),
        (["port=studio"], ["port=studio: several ports", "Studio Synth:in 20:0, Studio Drums:in 21:0"]),
        (["input=Pads"], ["input=Pads: no such MIDI port; there are Keys 24:0"]),
        (["input=keys", "prompt=a.mid"], ["the player is the prompt"]),
        (["lookahead_ms=0"], ["lookahead_ms=0: give a number above 0"]),
        (["minutes=long"], ["minutes=long: give a number above 0"]),
        (["answer_bars=0"], ["answer_bars=0", "at least 1"]),
        (["input=keys", "answer_bars=null"], ["answer_bars=null", "controls={1:temperature}"]),
        (["controls={1:temperature}"], ["controls: whose?", "input=NAME", "--ports"]),
        (["input=keys", "controls={1:temprature}"], ["1 is to turn temprature", "nearest: temperature"]),
        (["input=keys", "controls={200:tempo}"], ["200 is no controller", "from 0 to 127"]),
        (["input=keys", "controls=wheel"], ["controls=wheel", "controls={1:temperature}"]),
        (["bars=8"], ["bars=8: live plays one stream", "leave it out"]),
        (["grammar=false"], ["grammar=False: live plays"]),
        (["instruments=[pianola]"], ["'pianola' is no General MIDI name"]),
        (["tempo_bpm=999"], ["tempo_bpm=999", "between 20 and 400"]),
    ],
)
def test_mistakes_are_told_in_one_line_and_leave_no_file(in_studio, tmp_path, machine, typed, arguments, parts):
    done = in_studio("live", f"file={tmp_path}/jam.mid", *arguments)
    assert done.code == 2, done
    assert done.message.count("\n") == 0
    assert all(part in done.message for part in parts), done.message
    assert os.listdir(tmp_path) == []
    assert all(port.closed for port in machine)


def test_a_machine_without_ports_or_packages_is_told_what_to_do(tmp_path, machine, monkeypatch):
    monkeypatch.setattr(mido, "get_output_names", list)
    with pytest.raises(UserError, match=r"port=x: no such MIDI port, and no other; .*port=virtual makes one"):
        ports.open_output("x")

    def broken():
        raise RuntimeError("no sequencer")

    monkeypatch.setattr(mido, "get_output_names", broken)
    with pytest.raises(UserError, match=r"cannot be opened \(no sequencer\)"):
        ports.open_output("x")
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(UserError, match=r"pip install 'midifactory\[live\]'"):
        ports.port_names()
    done = run_command(tmp_path, "live", "--ports")
    assert done.code == 2
    assert "midifactory[live]" in done.message


def test_a_port_of_our_own(machine):
    send, close = ports.open_output("virtual")
    send(bytes([0x90, 60, 80]))
    close()
    (port,) = machine
    assert (port.name, port.virtual, port.sent[0].note) == ("midifactory", True, 60)


def test_fluidsynth_is_told_by_its_shell(tmp_path, monkeypatch):
    """A program that writes down what it is told stands for FluidSynth."""
    program, heard = tmp_path / "fluidsynth", tmp_path / "heard"
    program.write_text(
        f'#!/bin/sh\necho "$@" > "{heard}.arguments"\nwhile read line; do echo "$line" >> "{heard}"; done\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    send, close = ports.open_output("fluidsynth")
    for message in ([0xC3, 40], [0x93, 60, 80], [0x83, 60, 0], [0xB3, 123, 0]):
        send(bytes(message))
    close()
    assert heard.read_text().splitlines() == ["prog 3 40", "noteon 3 60 80", "noteoff 3 60", "cc 3 123 0"]
    assert (tmp_path / "heard.arguments").read_text().strip().endswith(".sf2")


def test_a_fluidsynth_that_cannot_play_says_why(tmp_path, monkeypatch):
    program = tmp_path / "fluidsynth"
    program.write_text("#!/bin/sh\necho 'no audio driver' >&2\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(UserError, match=r"port=fluidsynth: it cannot play here \(no audio driver\)"):
        ports.open_output("fluidsynth")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="not installed"):
        ports.open_output("fluidsynth")


def test_midi_messages_of_notes_are_heard_and_no_others():
    listener, clock = Listener(0.5), SimpleNamespace(monotonic=iter(range(100)).__next__)
    for message in ([0xF8], [0x91, 60, 70], [0xB1, 1, 2], [0x81, 60, 0], [0x90, 62, 80], [0x90, 62, 0]):
        hear(message, listener, clock, Knobs({}))
    phrase = listener.phrase(50.0)
    assert [(note.pitch, note.velocity) for note in phrase] == [(60, 70), (62, 80)]
    assert all(note.begin_seconds < note.end_seconds for note in phrase)


def test_controls_turn_what_plays_without_an_answer(in_studio, tmp_path, machine, typed, monkeypatch):
    """With answer_bars=null the stream goes on by itself; keys are not heard, the wheel is."""
    opener = mido.open_input

    def open_and_turn(name, **options):
        port = opener(name, **options)
        for value in (3, 90, 127):
            port.callback(mido.Message("control_change", control=1, value=value))
        port.callback(mido.Message("control_change", control=7, value=0))
        port.callback(mido.Message("control_change", control=64, value=127))
        port.callback(mido.Message("note_on", note=60))
        return port

    monkeypatch.setattr(mido, "open_input", open_and_turn)
    asked = ("input=keys", "controls={1:temperature,7:tempo}", "answer_bars=null")
    done = in_studio("live", f"file={tmp_path}/jam.mid", *asked, *SHORT)
    assert done.code == 0, done
    assert "temperature 1.50 from the next bar on" in done.out
    assert "temperature 0.5" not in done.out, "only the last value counts"
    assert "tempo 40 from now on" in done.out
    assert "heard 1 notes" not in done.out
    assert sum(len(track.notes) for track in Score(tmp_path / "jam.mid").tracks) > 0


# --- the desk ---


@pytest.fixture
def desk():
    """A desk whose every effect is noted in `done`."""
    done = []
    live = SimpleNamespace(set_tempo=lambda bpm: done.append(("tempo", bpm)), stop=lambda: done.append("stop"))

    def wish(settings):
        if settings["density"] == 0:
            raise UserError("density=0: it must be above 0")
        return dict(settings)

    made = Desk(
        {"density": None, "instruments": None, "polyphony": None, "key": "C", "harmony": None},
        wish,
        live,
        lambda wishes, sampling: done.append((wishes, sampling.temperature)),
        Sampling(0.9, top_p=0.97),
    )
    made.done = done
    return made


def test_what_is_typed_adds_up(desk):
    said = []
    desk.listen(
        ["tempo 140", "", "density 4", "temperature 1.2", "instruments piano, 33", "key off", "tempo off"], said.append
    )
    first = {"density": 4.0, "instruments": None, "polyphony": None, "key": "C", "harmony": None}
    second = {**first, "instruments": ["piano", 33]}
    assert desk.done == [
        *(("tempo", 140.0), (first, 0.9), (first, 1.2), (second, 1.2), ({**second, "key": None}, 1.2), ("tempo", None)),
    ]
    assert len(said) == 6
    assert desk.sampling.top_p == 0.97
    assert desk.type("quit") == "ending"
    assert desk.done[-1] == "stop"


def test_what_cannot_be_done_is_said_and_changes_nothing(desk):
    said = []
    lines = ["densty 4", "density", "density many", "density 0", "temperature -1", "quit now", "help"]
    desk.listen(lines, said.append)
    assert desk.done == []
    assert "nearest: density" in said[0]
    assert said[1] == "density: write density 4|off"
    assert "write density 4|off" in said[2]
    assert said[3] == "density=0: it must be above 0"
    assert "temperature=-1" in said[4]
    assert said[5] == "quit now: write quit"
    assert all(any(line.startswith(name) for line in said[6].splitlines()) for name in COMMANDS)
    assert desk.settings["density"] is None


# --- knobs ---


def test_a_knob_types_at_the_desk(desk):
    knobs, said = Knobs({1: "temperature", 74: "density", 7: "tempo"}), []
    for controller, value in ((1, 5), (1, 127), (74, 0), (7, 127), (64, 127)):
        knobs.turn(controller, value)
    knobs.settle(desk, said.append)
    assert said == [
        "temperature 1.50 from the next bar on", "density 0.5 from the next bar on", "tempo 200 from now on",
    ]  # fmt: skip
    assert desk.sampling.temperature == 1.5
    assert desk.settings["density"] == 0.5
    assert ("tempo", 200.0) in desk.done
    knobs.settle(desk, said.append)
    assert len(said) == 3, "each is done once"


def test_a_knob_whose_wish_cannot_be_met_says_so(desk, monkeypatch):
    monkeypatch.setitem(SPANS, "density", (0, 8, 0))
    knobs, said = Knobs({74: "density"}), []
    knobs.turn(74, 0)
    knobs.settle(desk, said.append)
    assert said == ["density=0: it must be above 0"]
