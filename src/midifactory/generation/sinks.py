"""Where live notes go: MIDI messages at their time to whatever sends them, and a MIDI file that is whole all the time.

No MIDI library is needed here: a message is its bytes.
"""

import heapq
import os
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pretty_midi

from midifactory import files
from midifactory.errors import UserError
from midifactory.generation.live import Clock, LiveNote
from midifactory.music.score import Limits, UnreadableMidi, load_score, save_score

_DRUM_CHANNEL = 9
_CHANNELS = [channel for channel in range(16) if channel != _DRUM_CHANNEL]
_NOTE_OFF, _NOTE_ON, _PROGRAM, _CONTROL = 0x80, 0x90, 0xC0, 0xB0
_ALL_NOTES_OFF = 123
_TICKS = 480  # per quarter note
_NOTES_PER_WRITE = 16
_ANY_SIZE = Limits(max_megabytes=1e4, max_tracks=10**6, max_notes=10**9, max_hours=1e4)


class Sink(Protocol):
    """Takes notes in the order of their times."""

    def play(self, note: LiveNote) -> None:
        """Take one note, before its time."""

    def close(self, drain: bool) -> None:
        """Nothing more comes. drain: let what was taken sound to its end; else be silent at once."""


class Channels:
    """A MIDI channel for each program: drums on the tenth; where channels run out, the one unused for longest."""

    def __init__(self) -> None:
        self._programs: dict[int, int] = {}  # program -> channel, the one used last at the end

    def of(self, program: int) -> tuple[int, bool]:
        """The channel, and whether it must be told its program first."""
        if program < 0:
            return _DRUM_CHANNEL, False
        known = program in self._programs
        if known:
            channel = self._programs.pop(program)
        elif len(self._programs) < len(_CHANNELS):
            channel = next(channel for channel in _CHANNELS if channel not in self._programs.values())
        else:
            channel = self._programs.pop(next(iter(self._programs)))
        self._programs[program] = channel
        return channel, not known


def messages_of(note: LiveNote, channels: Channels) -> tuple[list[bytes], bytes]:
    """What begins a note, and what ends it."""
    channel, fresh = channels.of(note.program)
    begin = [bytes([_PROGRAM | channel, note.program])] if fresh else []
    begin.append(bytes([_NOTE_ON | channel, note.pitch, note.velocity]))
    return begin, bytes([_NOTE_OFF | channel, note.pitch, 0])


class Messages:
    """MIDI messages in the order of their times: at one time ends come before begins."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int, bytes]] = []
        self._order = 0
        self._channels = Channels()
        self._sounding: dict[tuple[int, int], int] = {}  # channel and pitch -> how many begins have had no end

    def put(self, note: LiveNote) -> None:
        """Take a note."""
        begin, end = messages_of(note, self._channels)
        for rank, at, message in (
            *((1, note.at_seconds, message) for message in begin),
            (0, note.at_seconds + note.duration_seconds, end),
        ):
            heapq.heappush(self._heap, (at, rank, self._order, message))
            self._order += 1

    @property
    def next_at(self) -> float | None:
        """When the next one is due; None where there is none."""
        return self._heap[0][0] if self._heap else None

    def due(self, now_seconds: float) -> list[bytes]:
        """Those that are due by now. A pitch that two notes share on a channel ends with the last of them."""
        found = []
        while self._heap and self._heap[0][0] <= now_seconds:
            message = heapq.heappop(self._heap)[3]
            kind, key = message[0] & 0xF0, (message[0] & 0x0F, message[1])
            if kind == _NOTE_ON:
                self._sounding[key] = self._sounding.get(key, 0) + 1
            elif kind == _NOTE_OFF:
                left = self._sounding.pop(key, 0) - 1
                if left > 0:
                    self._sounding[key] = left
                    continue
            found.append(message)
        return found

    def silence(self) -> list[bytes]:
        """Messages that end all that sounds; nothing is due any more."""
        ends = [bytes([_NOTE_OFF | channel, pitch, 0]) for channel, pitch in self._sounding]
        channels = sorted({channel for channel, _ in self._sounding})
        self._heap.clear()
        self._sounding.clear()
        return [*ends, *(bytes([_CONTROL | channel, _ALL_NOTES_OFF, 0]) for channel in channels)]


class PortSink:
    """Implements Sink: sends each message at its time, from a thread of its own.

    most_behind_seconds: by how much a message was sent after its time, at most.
    """

    def __init__(self, send: Callable[[bytes], None], close: Callable[[], None], clock: Clock):
        """send: one message; close: called once at the end."""
        self.most_behind_seconds = 0.0
        self._send, self._clock, self._close = send, clock, close
        self._messages = Messages()
        self._changed = threading.Condition()
        self._ends = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="port", daemon=True)
        self._thread.start()

    def play(self, note: LiveNote) -> None:
        """Take a note. Raises what the port raised while it was sent to."""
        with self._changed:
            if self._error is not None:
                raise self._error
            self._messages.put(note)
            self._changed.notify()

    def close(self, drain: bool) -> None:
        """End; see Sink."""
        with self._changed:
            self._ends = True
            silence = [] if drain else self._messages.silence()
            self._changed.notify()
        self._thread.join()
        with suppress(Exception):  # a port that has gone away cannot be told
            for message in silence:
                self._send(message)
        self._close()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    now, at = self._clock.monotonic(), self._messages.next_at
                    if at is None and self._ends:
                        return
                    if at is None or at > now:
                        self._changed.wait(None if at is None else at - now)
                        continue
                    messages = self._messages.due(now)
                    self.most_behind_seconds = max(self.most_behind_seconds, now - at)
                for message in messages:
                    self._send(message)
        except Exception as error:  # whoever plays the next note is to know
            self._error = error


class FileSink:
    """Implements Sink: writes a MIDI file in beats, with the tempos that were played.

    While it plays, `NAME.playing.mid` beside it grows and is a whole MIDI file after every few notes; `close` makes
    the file of it, a track for each instrument, and removes it.
    """

    def __init__(self, path: Path, metre: tuple[int, int] | None = None):
        """Raises UserError for a file that is there already."""
        self.path, self.playing = path, path.with_name(f"{path.stem}.playing.mid")
        for there in (path, self.playing):
            if there.exists():
                raise UserError(f"file={path}: {there} is there already; give another name, or remove it")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.playing.open("wb")
        self._channels = Channels()
        self._ends: list[tuple[int, bytes]] = []  # a heap of what ends notes, by tick
        self._tick, self._tempo, self._notes = 0, 0.0, 0
        self._pending = bytearray()
        header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, _TICKS) + struct.pack(">4sI", b"MTrk", 0)
        self._file.write(header)
        self._begin = len(header)
        if metre is not None:
            self._add(0, bytes([0xFF, 0x58, 4, metre[0], metre[1].bit_length() - 1, 24, 8]))
        self._write()

    def play(self, note: LiveNote) -> None:
        """Write a note down."""
        onset = max(self._tick, round(note.onset_beats * _TICKS))
        self._end_until(onset)
        if note.tempo_bpm != self._tempo:
            self._tempo = note.tempo_bpm
            self._add(onset, b"\xff\x51\x03" + round(60e6 / note.tempo_bpm).to_bytes(3, "big"))
        begin, end = messages_of(note, self._channels)
        for message in begin:
            self._add(onset, message)
        heapq.heappush(self._ends, (onset + max(1, round(note.duration_beats * _TICKS)), end))
        self._notes += 1
        if self._notes % _NOTES_PER_WRITE == 0:
            self._write()

    def close(self, drain: bool) -> None:
        """Make the file; none where nothing was played."""
        self._end_until(None)
        self._write()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._notes:
            try:
                self._in_tracks()
            except UnreadableMidi:  # what was played is worth more than its form
                self.playing.replace(self.path)
            files.sync_directory(self.path.parent)
        self.playing.unlink(missing_ok=True)

    def _in_tracks(self) -> None:
        score = load_score(self.playing, _ANY_SIZE)
        for track in score.tracks:
            track.name = "drums" if track.is_drum else pretty_midi.program_to_instrument_name(track.program)
        save_score(score, self.path)

    def _end_until(self, tick: int | None) -> None:
        while self._ends and (tick is None or self._ends[0][0] <= tick):
            self._add(*heapq.heappop(self._ends))

    def _add(self, tick: int, event: bytes) -> None:
        delta = tick - self._tick
        self._tick = tick
        size = [delta & 0x7F]
        while delta := delta >> 7:
            size.append(delta & 0x7F | 0x80)
        self._pending += bytes(reversed(size)) + event

    def _write(self) -> None:
        """Add what is pending, close the track behind it, and say how long it is."""
        file, (pending, self._pending) = self._file, (self._pending, bytearray())
        file.write(pending)
        end = file.tell()
        sounding = b"".join(b"\x00" + message for _, message in self._ends)
        file.write(sounding + b"\x00\xff\x2f\x00")
        file.truncate()
        size = file.tell() - self._begin
        file.seek(self._begin - 4)
        file.write(struct.pack(">I", size))
        file.seek(end)
        file.flush()
