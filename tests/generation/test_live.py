"""Notes against a simulated clock: when each is handed out, what is late, and that changes and answers come in time."""

import math
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

import pytest

from generation.conftest import PROFILES
from generation.test_schemes import untrained_of
from midifactory.errors import UserError
from midifactory.generation.endless import Endless, Sung
from midifactory.generation.listening import Listener, Played, phrase_score
from midifactory.generation.live import Live, SystemClock
from midifactory.generation.pieces import opening_of_style, prompt_opening
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Free
from midifactory.generation.wishes import Wishes

LOOKAHEAD = 0.1
FOUR = Wishes(PROFILES["four_voices"], programs=(73, 68, 71, 70), metre="4/4", tempo_bpm=96.0, density=3.0)


@dataclass
class Simulated:
    """A clock that moves when it is slept on, and does what is to be done on the way."""

    now: float = 1000.0
    events: list = field(default_factory=list)  # (seconds after 1000, what is done)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        while self.events and self.events[0][0] <= self.now - 1000.0:
            self.events.pop(0)[1]()


class Scale:
    """Implements what Live asks of Endless: a note on every beat, each of which takes `cost` seconds; bars of four."""

    def __init__(self, clock: Simulated, cost: float = 0.0, notes: int = 10**9, tempos=None):
        self.clock, self.cost, self.count, self.tempos = clock, cost, notes, tempos or {}
        self.beat, self.turned, self.tempo, self.pitch = 0, [], 120.0, 60
        self.slow_from = self.slow_to = 0

    resting = property(lambda self: self.beat >= self.count)
    settled_beats = property(lambda self: math.inf if self.resting else float(self.beat))
    bars = property(lambda self: [(bar, 4.0 * bar) for bar in range(self.beat // 4 + 1)])

    def step(self):
        self.clock.now += self.cost * (10 if self.slow_from <= self.beat < self.slow_to else 1)
        self.tempo = self.tempos.get(self.beat, self.tempo)
        self.beat += 1
        beat = self.beat - 1
        return [Sung(beat // 4, 0, self.pitch, 80, float(beat), 0.5, self.tempo)]

    def forget(self, bar):
        pass

    def turn(self, manner, bar=None):
        self.turned.append((manner, bar, self.clock.now))
        self.pitch = manner
        if bar is not None:
            self.beat = 4 * bar


def handed(live: Live, clock: Simulated, count: int | None = None, seconds=None) -> list[tuple]:
    """Notes, each with the time at which it was handed out."""
    return [(note, clock.now) for note in islice(live.notes(seconds), count)]


def test_each_note_is_handed_out_so_long_before_its_time_and_in_order():
    clock = Simulated()
    live = Live(Scale(clock), clock, LOOKAHEAD, 4.0, 90.0, in_background=False)
    found = handed(live, clock, 200)
    for number, (note, at) in enumerate(found):
        assert note.at_seconds == pytest.approx(1000.0 + LOOKAHEAD + number * 60 / 90, abs=1e-6)
        assert at == pytest.approx(note.at_seconds - LOOKAHEAD, abs=1e-6)
        assert note.duration_seconds == pytest.approx(0.5 * 60 / 90)
    report = live.report
    assert (report.notes, report.late, report.waits) == (200, 0, 0)
    assert report.least_margin_seconds == pytest.approx(LOOKAHEAD, abs=1e-6)
    assert report.first_note_seconds == pytest.approx(LOOKAHEAD)


def test_decoding_goes_ahead_by_so_many_seconds_and_no_more():
    clock = Simulated()
    music = Scale(clock)
    live = Live(music, clock, LOOKAHEAD, 4.0, 60.0, in_background=False)
    for number, note in enumerate(islice(live.notes(), 50)):
        assert note.onset_beats == number
        if number > 10:
            assert 4.0 <= music.beat - note.onset_beats <= 6.0


def test_the_music_ends_with_its_notes_after_its_seconds_and_when_stopped():
    for how in ("notes", "seconds", "stop"):
        clock = Simulated()
        live = Live(
            Scale(clock, notes=10 if how == "notes" else 99), clock, LOOKAHEAD, tempo_bpm=60.0, in_background=False
        )
        found = []
        for note in live.notes(9.5 if how == "seconds" else None):
            found.append(note.onset_beats)
            if how == "stop" and len(found) == 10:
                live.stop()
        assert found == list(range(10))
        assert live.stopped == (how == "stop")


def test_a_model_that_is_too_slow_makes_the_music_wait_and_that_is_counted():
    """A beat lasts half a second, a note takes 0.8: what is lost is 0.3 s a note."""
    clock = Simulated()
    live = Live(Scale(clock, cost=0.8), clock, LOOKAHEAD, 4.0, 120.0, in_background=False)
    found = handed(live, clock, 40)
    margins = [note.at_seconds - at for note, at in found]
    report = live.report
    assert report.late == sum(margin < 0 for margin in margins)
    assert report.least_margin_seconds == pytest.approx(min(margins))
    assert report.waits > 10
    played_in = found[-1][0].at_seconds - found[0][0].at_seconds
    assert played_in == pytest.approx(39 * 0.5 + report.waited_seconds, abs=0.5)
    assert played_in == pytest.approx(39 * 0.8, rel=0.1)
    assert "waited" in str(report)


def test_a_passing_slowness_is_made_up_for_by_what_is_ahead():
    clock = Simulated()
    music = Scale(clock, cost=0.02)
    music.slow_from, music.slow_to = 40, 45  # 0.2 s each: longer than the lookahead, so notes come late in this thread
    live = Live(music, clock, LOOKAHEAD, 4.0, 480.0 / 4, in_background=False)
    found = handed(live, clock, 100)
    late = [note.onset_beats for note, at in found if at > note.at_seconds]
    assert live.report.late == len(late)
    assert live.report.waits == 0
    assert all(
        b[0].at_seconds - a[0].at_seconds == pytest.approx(0.5) for a, b in pairwise(found)
    )  # the time of the music is not moved
    assert all(at - note.at_seconds < 0.2 for note, at in found)


def test_whoever_takes_notes_too_slowly_makes_them_late():
    clock = Simulated()
    live = Live(Scale(clock), clock, LOOKAHEAD, 4.0, 120.0, in_background=False)
    for note in islice(live.notes(), 20):
        clock.now += 0.75 if note.onset_beats == 5 else 0.0
    # Note 6 is due half a second after note 5, which was handed out 0.1 s ahead: 0.15 s before the slow one is done.
    assert live.report.late == 1
    assert live.report.least_margin_seconds == pytest.approx(-0.15, abs=1e-6)


def test_a_tempo_holds_for_all_that_is_not_handed_out():
    clock = Simulated()
    live = Live(Scale(clock), clock, LOOKAHEAD, 4.0, 60.0, in_background=False)
    clock.events = [(10.25, lambda: live.set_tempo(120.0))]
    times = [note.at_seconds - 1000.1 for note in islice(live.notes(), 30)]
    assert times[:11] == pytest.approx([float(beat) for beat in range(11)], abs=1e-6)
    # What was not handed out at 10.25 s is after beat 10.25, which lasts from there on at the new tempo.
    turned = 10.25
    assert times[11:] == pytest.approx([turned + (beat - turned) / 2 for beat in range(11, 30)], abs=0.03)
    assert live.tempo_bpm == 120
    with pytest.raises(UserError, match="between 20 and 400"):
        live.set_tempo(500)


def test_the_models_own_tempos_count_where_none_is_asked():
    clock = Simulated()
    live = Live(Scale(clock, tempos={0: 60.0, 4: 120.0, 8: 30.0}), clock, LOOKAHEAD, 4.0, in_background=False)
    times = [note.at_seconds - 1000.1 for note in islice(live.notes(), 11)]
    assert times == pytest.approx([0, 1, 2, 3, 4, 4.5, 5, 5.5, 6, 8, 10])


def test_a_turn_is_heard_within_a_bar_and_drops_what_was_composed_ahead():
    clock = Simulated()
    music = Scale(clock)
    live = Live(music, clock, LOOKAHEAD, 8.0, 120.0, in_background=False)
    clock.events = [(5.0, lambda: live.turn(99))]  # beat 10, in bar 2; composed is up to beat 26
    notes = list(islice(live.notes(), 40))
    assert [note.onset_beats for note in notes] == list(range(40))  # none twice, none left out
    assert [note.pitch for note in notes] == [60] * 12 + [99] * 28
    assert [(manner, bar) for manner, bar, _ in music.turned] == [(99, 3)]


def test_a_bar_that_is_too_near_is_played_as_it_was():
    clock = Simulated()
    live = Live(Scale(clock), clock, LOOKAHEAD, 8.0, 120.0, in_background=False)
    clock.events = [(5.85, lambda: live.turn(99))]  # 0.25 s before bar 3, of which 0.1 are the lookahead
    notes = list(islice(live.notes(), 40))
    assert [note.pitch for note in notes] == [60] * 16 + [99] * 24


def test_what_fails_while_decoding_is_raised_where_notes_are_taken():
    class Broken(Scale):
        def step(self):
            if self.beat == 3:
                raise ZeroDivisionError
            return super().step()

    live = Live(Broken(Simulated()), SystemClock(), 0.01, tempo_bpm=400.0)
    with pytest.raises(ZeroDivisionError):
        list(live.notes())


# --- with a model ---


def playing(name="remi", wishes=FOUR, clock=None, **options):
    """A Live of an untrained model, and a function that makes manners for it."""
    trained = untrained_of(name)
    music = Endless(trained, seed=2)
    clock = clock or Simulated()
    live = Live(music, clock, LOOKAHEAD, 4.0, 96.0, **{"in_background": False, **options})
    opening = opening_of_style(Free(), wishes, trained.tokenizer)
    live.begin(opening, music.manner(wishes, Sampling(), opening))
    return live, music, clock


def test_two_minutes_come_in_time_and_what_is_kept_for_it_does_not_grow():
    live, music, clock = playing()
    sizes = {}
    last = None
    for note in live.notes(120.0):
        assert note.at_seconds - clock.now == pytest.approx(LOOKAHEAD, abs=1e-6)
        assert last is None or last.onset_beats <= note.onset_beats
        last = note
        part = int((note.at_seconds - 1000) // 10)
        size = len(live._queue), len(music._ids), len(music._row.new), len(music._marks), len(music._places)
        sizes[part] = [max(pair) for pair in zip(sizes.get(part, size), size, strict=True)]
    assert live.report.late == 0
    assert live.report.waits == 0
    assert set(sizes) >= set(range(12))
    for kind in range(5):
        early, late = (max(sizes[part][kind] for part in half) for half in (range(1, 6), range(6, 12)))
        assert late <= 1.5 * early + 5


def test_instruments_are_turned_within_a_bar():
    live, music, clock = playing()
    clock.events = [(10.0, lambda: live.turn(music.manner(replace(FOUR, programs=(71,)), Sampling())))]
    notes = list(live.notes(40.0))
    bar = 4 * 60 / 96
    before = {note.program for note in notes if note.at_seconds < 1010}
    after = {note.program for note in notes if note.at_seconds > 1010 + LOOKAHEAD + 0.25 + bar}
    assert len(before) > 1
    assert after == {71}
    assert live.report.late == 0


def test_the_same_music_comes_from_a_thread_of_its_own():
    wishes = replace(FOUR, tempo_bpm=400.0)
    inline, _, _ = playing(wishes=wishes)
    inline.set_tempo(400.0)
    threaded, _, _ = playing(wishes=wishes, clock=SystemClock(), in_background=True)
    threaded.set_tempo(400.0)
    one, two = ([(n.program, n.pitch, n.onset_beats) for n in islice(live.notes(), 15)] for live in (inline, threaded))
    assert one == two


# --- answers ---


def test_a_phrase_is_over_after_silence():
    listener = Listener(0.5)
    listener.note_on(60, 80, 10.0)
    assert listener.phrase(99.0) is None  # it is still held
    listener.note_on(64, 70, 10.5)
    listener.note_on(60, 0, 11.0)  # a note-on without velocity ends it
    listener.note_off(64, 11.5)
    listener.note_off(67, 11.6)  # was never down
    assert listener.phrase(11.9) is None
    assert listener.phrase(12.0) == (Played(60, 80, 10.0, 11.0), Played(64, 70, 10.5, 11.5))
    assert listener.phrase(99.0) is None


def test_a_phrase_becomes_a_score_in_the_tempo_that_is_played():
    score = phrase_score((Played(60, 80, 7.0, 7.5), Played(64, 70, 8.0, 9.0)), 90.0, (3, 4), 40)
    (track,) = score.tracks
    assert [(n.time, n.duration, n.pitch, n.velocity) for n in track.notes] == [(0, 360, 60, 80), (720, 720, 64, 70)]
    assert track.program == 40
    assert score.tempos[0].qpm == pytest.approx(90)
    assert (score.time_signatures[0].numerator, score.time_signatures[0].denominator) == (3, 4)


def test_a_player_is_answered_phrase_by_phrase():
    trained, clock, listener, phrases = untrained_of("remi"), Simulated(), Listener(0.5), []
    wishes = replace(FOUR, tempo_bpm=None)
    music = Endless(trained, seed=2)

    def respond(phrase, tempo_bpm):
        phrases.append((clock.now - 1000, [note.pitch for note in phrase], tempo_bpm))
        opening = prompt_opening(phrase_score(phrase, tempo_bpm, (4, 4), 73), trained.tokenizer, None, None, wishes)
        return opening, music.manner(wishes, Sampling(), opening)

    live = Live(music, clock, LOOKAHEAD, 4.0, 120.0, False, listener, respond, answer_bars=2)

    def key(at, pitch, down):
        return at, lambda: (listener.note_on if down else listener.note_off)(pitch, *([80] if down else []), clock.now)

    first = [key(at, pitch, down) for at, pitch, down in ((1.0, 60, 1), (1.5, 60, 0), (1.5, 64, 1), (2.0, 64, 0))]
    again = [key(at, pitch, down) for at, pitch, down in ((20.0, 67, 1), (20.5, 67, 0))]
    clock.events = [*first, *again, (30.0, live.stop)]
    notes = list(live.notes())
    assert [(pitches, tempo) for _, pitches, tempo in phrases] == [([60, 64], 120.0), ([67], 120.0)]
    assert [at for at, *_ in phrases] == pytest.approx([2.5, 21.0], abs=0.06)
    answers = [[note for note in notes if at < note.at_seconds - 1000 < at + 6] for at in (2.5, 21.0)]
    assert sum(map(len, answers)) == len(notes)
    for answer, begin in zip(answers, (1.0, 20.0), strict=True):
        assert answer
        # Two bars of four beats, the first note on one of the player's beats.
        assert answer[-1].onset_beats - answer[0].onset_beats < 8
        beats = (answer[0].at_seconds - 1000 - begin) / 0.5
        assert beats == pytest.approx(round(beats), abs=0.1)
    assert answers[1][0].onset_beats > answers[0][-1].onset_beats  # beats go on between the answers
    assert live.report.late == 0
