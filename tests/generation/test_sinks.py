"""MIDI messages in their order and the file of what was played, against symusic's reading of it."""

import random
import threading
from collections import Counter

import pytest
from symusic import Score

from midifactory.errors import UserError
from midifactory.generation.live import LiveNote, SystemClock
from midifactory.generation.sinks import Channels, FileSink, Messages, PortSink


def note(at, pitch=60, program=0, duration=0.5, bpm=120.0, velocity=80) -> LiveNote:
    """A note whose beats are those of its seconds at 120 bpm."""
    return LiveNote(program, pitch, velocity, at * 2, duration * 2, bpm, at, duration)


def some_notes(count: int, programs=(0, 40, -1), seed=0) -> list[LiveNote]:
    generator = random.Random(seed)
    onsets = sorted(generator.randrange(4 * count) / 8 for _ in range(count))
    free: dict[tuple[int, int], float] = {}
    notes = []
    for onset in onsets:
        program, pitch = generator.choice(programs), generator.randrange(40, 90)
        if free.get((program, pitch), 0.0) <= onset:
            duration = generator.randrange(1, 24) / 8
            free[program, pitch] = onset + duration
            notes.append(note(onset, pitch, program, duration, velocity=generator.randrange(1, 128)))
    return notes


def in_ticks(notes) -> Counter:
    return Counter(
        (n.program, n.pitch, n.velocity, round(n.onset_beats * 480), round(n.duration_beats * 480)) for n in notes
    )


def in_file(path) -> Counter:
    score = Score(path)
    assert score.ticks_per_quarter == 480
    return Counter(
        (-1 if track.is_drum else track.program, n.pitch, n.velocity, n.time, n.duration)
        for track in score.tracks
        for n in track.notes
    )


def test_messages_come_in_time_and_ends_before_begins():
    messages = Messages()
    messages.put(note(1.0, 60, 5, 0.5))
    messages.put(note(1.5, 60, 5, 0.5))
    messages.put(note(1.5, 36, -1, 0.25))
    assert messages.next_at == 1.0
    assert messages.due(0.99) == []
    assert messages.due(1.0) == [bytes([0xC0, 5]), bytes([0x90, 60, 80])]
    assert messages.due(1.6) == [bytes([0x80, 60, 0]), bytes([0x90, 60, 80]), bytes([0x99, 36, 80])]
    assert messages.due(9.0) == [bytes([0x89, 36, 0]), bytes([0x80, 60, 0])]
    assert messages.next_at is None


def test_every_begin_has_its_end_and_silence_ends_what_sounds():
    notes = some_notes(300)
    messages = Messages()
    for one in notes:
        messages.put(one)
    sent = messages.due(70.0)
    begun = Counter((m[0] & 15, m[1]) for m in sent if m[0] & 0xF0 == 0x90)
    ended = Counter((m[0] & 15, m[1]) for m in sent if m[0] & 0xF0 == 0x80)
    sounding = begun - ended
    expected = Counter(n.pitch for n in notes if n.at_seconds <= 70 < n.at_seconds + n.duration_seconds)
    assert Counter(pitch for _, pitch in sounding.elements()) == expected
    assert expected
    last = messages.silence()
    assert {(m[0] & 15, m[1]) for m in last if m[0] & 0xF0 == 0x80} == set(sounding)
    assert messages.next_at is None


def test_a_pitch_that_two_notes_share_ends_with_the_last():
    messages = Messages()
    messages.put(note(0.0, 60, 0, 2.0))
    messages.put(note(1.0, 60, 0, 2.0))
    assert [m[0] for m in messages.due(2.5)] == [0xC0, 0x90, 0x90]
    assert messages.due(3.0) == [bytes([0x80, 60, 0])]


def test_more_programs_than_channels():
    channels = Channels()
    assert channels.of(-1) == (9, False)
    first = [channels.of(program) for program in range(15)]
    assert sorted(channel for channel, _ in first) == [c for c in range(16) if c != 9]
    assert all(fresh for _, fresh in first)
    assert channels.of(0) == (first[0][0], False)
    assert channels.of(99) == (first[1][0], True)  # program 1 was unused for longest
    assert channels.of(0) == (first[0][0], False)
    assert channels.of(1)[1]


def test_a_port_gets_all_messages_in_order_and_none_before_its_time():
    clock, sent, closed = SystemClock(), [], []
    sink = PortSink(lambda message: sent.append((clock.monotonic(), message)), lambda: closed.append(True), clock)
    begin = clock.monotonic() + 0.05
    notes = [note(begin + number / 50, 60 + number, 0, 0.03) for number in range(10)]
    for one in notes:
        sink.play(one)
    sink.close(drain=True)
    assert [m[1] for _, m in sent if m[0] == 0x90] == list(range(60, 70))
    assert [m[1] for _, m in sent if m[0] == 0x80] == list(range(60, 70))
    for one, at in zip(notes, [at for at, m in sent if m[0] == 0x90], strict=True):
        assert at >= one.at_seconds
    assert closed == [True]
    assert sink.most_behind_seconds > 0


def test_a_port_that_is_closed_early_is_silent_at_once():
    clock, sent, sounds = SystemClock(), [], threading.Event()

    def send(message):
        sent.append(message)
        sounds.set()

    sink = PortSink(send, lambda: None, clock)
    sink.play(note(clock.monotonic(), 60, -1, 1000.0))
    sink.play(note(clock.monotonic() + 1000.0, 61, -1, 1.0))
    assert sounds.wait(10)
    sink.close(drain=False)
    assert sent == [bytes([0x99, 60, 80]), bytes([0x89, 60, 0]), bytes([0xB9, 123, 0])]


def test_what_a_port_raises_reaches_the_player():
    def send(message):
        raise UserError("gone")

    clock = SystemClock()
    sink = PortSink(send, lambda: None, clock)
    sink.play(note(clock.monotonic()))
    sink._thread.join(10)
    with pytest.raises(UserError, match="gone"):
        sink.play(note(clock.monotonic()))
    sink.close(drain=False)


def test_the_file_has_what_was_played_a_track_for_each_instrument(tmp_path):
    notes = some_notes(400)
    sink = FileSink(tmp_path / "jam.mid", (3, 4))
    for one in notes:
        sink.play(one)
    sink.close(drain=True)
    assert in_file(tmp_path / "jam.mid") == in_ticks(notes)
    score = Score(tmp_path / "jam.mid")
    assert {track.name for track in score.tracks} == {"Acoustic Grand Piano", "Violin", "drums"}
    assert (score.time_signatures[0].numerator, score.time_signatures[0].denominator) == (3, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["jam.mid"]


def test_tempos_stand_where_they_were_played(tmp_path):
    sink = FileSink(tmp_path / "jam.mid")
    for beat, bpm in ((0, 120.0), (1, 120.0), (2, 60.0), (3, 60.0), (4, 90.0)):
        sink.play(LiveNote(0, 60, 80, beat, 1.0, bpm, 0.0, 0.0))
    sink.close(drain=True)
    tempos = Score(tmp_path / "jam.mid").tempos
    assert [(t.time, round(t.qpm, 3)) for t in tempos] == [(0, 120.0), (960, 60.0), (1920, 90.0)]


def test_whenever_the_process_dies_the_file_beside_is_whole(tmp_path):
    """The bytes on disk after each note are a MIDI file of all but the last few notes."""
    notes = some_notes(200, programs=(0, -1))
    sink = FileSink(tmp_path / "jam.mid")
    seen = []
    for count, one in enumerate(notes, start=1):
        sink.play(one)
        if count % 7 == 0:
            copy = tmp_path / "copy.mid"
            copy.write_bytes(sink.playing.read_bytes())
            begun = Counter(key[:4] for key in in_file(copy).elements())
            whole = Counter(key[:4] for key in in_ticks(notes[: count - count % 16]).elements())
            assert not whole - begun
            seen.append(sum(begun.values()))
    assert seen == sorted(seen)
    assert seen[-1] > 100
    sink.close(drain=False)
    assert in_file(tmp_path / "jam.mid") == in_ticks(notes)


def test_no_file_is_overwritten_and_none_is_left_where_nothing_was_played(tmp_path):
    FileSink(tmp_path / "none.mid").close(drain=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "jam.mid").write_bytes(b"a song")
    with pytest.raises(UserError, match=r"jam\.mid is there already"):
        FileSink(tmp_path / "jam.mid")
    assert (tmp_path / "jam.mid").read_bytes() == b"a song"
