"""Bars of a Score filled anew by a model that was trained for it: some bars, some tracks, or tracks that were not
there.

What the model reads is what it was trained on: the Score without the region is encoded as a training piece is,
rearranged as a training segment is (tokens/infill.py), and ends where the span would begin. It may be longer than the
window: of the bars around those to be filled as many are taken as fit, as many on either side, whole bars. A region
that is itself longer than half of the window is filled in rounds from left to right, each with the rounds before it in
its surroundings and what is still to be filled, without its own notes, to its right.

The guide (generation/fill_guide.py) sees to it that only the region's bars and instruments come and that no pitch is
struck which sounds there on the same instrument. A new note ends at the region's end at the latest, and where an old
note of its pitch and instrument begins. A bar in which the replaced tracks had notes gets some, and in new tracks one
in which anything sounds. Tracks whose instrument the model has never met are read by it as another one, of the same
family or else of like height; in the Score they keep their own. In a model's stream tracks of one program are one:
where only one of them is filled, the others are to be seen in its place, and new notes go to the track of nearest
height.

Legend: E events, K bars of the piece, S samples.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from symusic import Note, Score, Track

from midifactory.errors import UserError
from midifactory.generation.engine import Engine, Row
from midifactory.generation.fill_guide import Busy, FillGuide, FillTables, Sounding
from midifactory.generation.sampling import Sampling
from midifactory.generation.stream import Work, perform
from midifactory.models.interface import SequenceModel
from midifactory.models.vae import VAE
from midifactory.music.joining import bar_lines
from midifactory.music.score import note_arrays
from midifactory.music.splice import splice, without
from midifactory.tokens.bounds import Bounds, Controls
from midifactory.tokens.grammar import DRUMS, grammar_of
from midifactory.tokens.infill import Event, Passage, Rearranger, Split, around
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Walk

HOW_TO_TRAIN = "take checkpoint=box, or train one with data.infill=0.5 (python train.py experiment=infill_chorales)"
_FILL_SHARE = 0.5  # of the window, for what is filled in a round
# A row takes at most so many times the tokens that a bar has elsewhere, and so many at least.
_MOST_PER_BAR, _LEAST_MOST = 6, 96
_SPARE = 1.5  # a fill may be denser than what stood there


class TrainedModel(Protocol):
    """What infilling needs of training.checkpoint.Trained."""

    model: SequenceModel
    tokenizer: Tokenizer
    window: int
    profile: dict[str, Any]


@dataclass(frozen=True)
class Region:
    """What is filled: bars from `first` up to, not including, `end`, of the tracks with these indices, and of new ones.

    new: the program (-1 drums) of each new track, as the model knows it.
    """

    first: int
    end: int
    tracks: tuple[int, ...] = ()
    new: tuple[int, ...] = ()


@dataclass(frozen=True)
class Filled:
    """The whole Score, and the region in it: its ticks [start_tick, end_tick), its new notes, and those of each bar."""

    score: Score
    start_tick: int
    end_tick: int
    notes: int
    notes_per_bar: tuple[int, ...]


@dataclass(eq=False)
class _Sample:
    """A row's way through the region. done: bars that are filled; events, sounding: what is filled so far."""

    done: int
    events: list[Event] = field(default_factory=list)
    sounding: list[Sounding] = field(default_factory=list)  # in the Score's ticks
    notes: list[tuple[int, Note]] = field(default_factory=list)  # program, and the note in the Score's ticks


def known_programs(profile: Mapping[str, Any]) -> dict[int, int]:
    """The programs of a corpus (-1 drums), and the middle of each one's pitches."""
    found = {
        row["program"]: (row["lowest"] + row["highest"]) // 2
        for row in (profile.get("tessitura") or {}).get("programs", ())
    }
    return found | {row["program"]: row["middle"] for row in profile["programs"]}


def read_as(score: Score, profile: Mapping[str, Any]) -> list[int]:
    """The program as which a model of this corpus reads each track.

    Its own, where the corpus has it. Else one of the same General MIDI family, else one of like height, and each
    another one in the order of their heights, if there are as many: the four pianos of a chorale are read as its four
    voices.
    """
    known = known_programs(profile)
    own = [DRUMS if track.is_drum else track.program for track in score.tracks]
    if not known.keys() - {DRUMS}:
        return own
    found = {index: program for index, program in enumerate(own) if program == DRUMS or program in known}
    unknown = [index for index in range(len(own)) if index not in found]
    heights = {index: _height(score.tracks[index]) for index in unknown}
    for index in list(unknown):
        family = [program for program in known if program != DRUMS and program // 8 == own[index] // 8]
        if family:
            found[index] = min(family, key=lambda program: (abs(known[program] - heights[index]), program))
            unknown.remove(index)
    free = [program for program in known if program != DRUMS and program not in found.values()]
    if len(free) >= len(unknown):
        return _merged(found, _in_order(heights, {program: known[program] for program in free}, unknown))
    pitched = [program for program in known if program != DRUMS]
    nearest = {i: min(pitched, key=lambda program: (abs(known[program] - heights[i]), program)) for i in unknown}
    return _merged(found, nearest)


def _merged(found: Mapping[int, int], more: Mapping[int, int]) -> list[int]:
    together = {**found, **more}
    return [together[index] for index in range(len(together))]


def _in_order(heights: Mapping[int, float], middles: Mapping[int, int], tracks: Sequence[int]) -> dict[int, int]:
    """A program of its own for each track, higher ones for higher tracks, as near as can be all together."""
    rows = sorted(tracks, key=lambda index: (-heights[index], index))
    columns = sorted(middles, key=lambda program: (-middles[program], program))
    best: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}  # rows and columns left: distance, choices
    for row in range(len(rows), -1, -1):
        for column in range(len(columns), -1, -1):
            if row == len(rows):
                best[row, column] = 0.0, ()
                continue
            ways = [best[row, column + 1]] if (row, column + 1) in best else []
            if column < len(columns) and (row + 1, column + 1) in best:
                rest, choices = best[row + 1, column + 1]
                distance = abs(middles[columns[column]] - heights[rows[row]])
                ways.append((rest + distance, (columns[column], *choices)))
            if ways:
                best[row, column] = min(ways)
    return dict(zip(rows, best[0, 0][1], strict=True))


def _height(track: Track) -> float:
    pitches = track.notes.numpy()["pitch"]
    return float(np.mean(pitches)) if len(pitches) else 60.0


class Infiller:
    """A model that infills, and its tables. Raises UserError for one that was not trained for it."""

    def __init__(self, trained: TrainedModel, source: str = "this model"):
        if not trained.tokenizer.infills:
            raise UserError(f"checkpoint={source}: it was not trained for infilling; {HOW_TO_TRAIN}")
        if isinstance(trained.model, VAE):
            raise UserError(f"checkpoint={source}: a model with a latent does not infill; {HOW_TO_TRAIN}")
        self.trained, self.tokenizer = trained, trained.tokenizer
        self.rows = Rearranger(trained.tokenizer)
        self.grammar = grammar_of(trained.tokenizer)
        self.tables = FillTables(self.grammar, self.rows.fill_end)
        self.programs = known_programs(trained.profile)
        self.engine = Engine(trained.model, trained.window, frozenset(trained.tokenizer.starting_with("Bar").tolist()))

    def fill(
        self,
        score: Score,
        region: Region,
        sampling: Sampling,
        samples: int = 1,
        seed: int = 0,
        programs: Sequence[int] | None = None,
        pitch_range: tuple[int, int] | None = None,
        program_ranges: Mapping[int, tuple[int, int]] | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> list[Filled]:
        """`samples` Scores with the region filled anew, each from its own random stream of `seed`: see `rounds`."""
        work = self.rounds(score, region, sampling, samples, seed, programs, pitch_range, program_ranges)
        return perform(work, self.engine, on_step)

    def rounds(
        self,
        score: Score,
        region: Region,
        sampling: Sampling,
        samples: int = 1,
        seed: int = 0,
        programs: Sequence[int] | None = None,
        pitch_range: tuple[int, int] | None = None,
        program_ranges: Mapping[int, tuple[int, int]] | None = None,
    ) -> Work[list[Filled]]:
        """The work of filling, its rounds to be decoded by any engine.

        programs: as which the model reads each track (see `read_as`). pitch_range, program_ranges: as in
        bounds.Controls. Raises UserError where the region lies outside, nothing is around it, or its bars are none that
        the tokens tell.
        """
        task = _Task(
            self, score, region, list(programs) if programs is not None else read_as(score, self.trained.profile)
        )
        controls = Controls(
            keep_tempo=True, programs=task.asked, pitch_range=pitch_range, program_ranges=program_ranges or {}
        )
        bounds = Bounds(self.grammar, controls)
        found = [_Sample(region.first) for _ in range(samples)]
        number = 0
        while waiting := [sample for sample in found if sample.done < region.end]:
            rounds = [task.round(sample) for sample in waiting]
            rows = {}
            for sample, (prompt, bars, closes) in zip(waiting, rounds, strict=True):
                guide = task.guide(sample, bars, closes, Walk(self.grammar, bounds))
                place = found.index(sample)
                rows[place] = Row(prompt, guide, sampling, (seed, place, number))
            yield rows
            for sample, (_, bars, _), row in zip(waiting, rounds, rows.values(), strict=True):
                assert isinstance(row.guide, FillGuide)
                task.take(sample, bars, row.new, row.guide)
            number += 1
        return [task.finished(sample) for sample in found]


class _Task:
    """One Score and one region: what is the same for all samples."""

    def __init__(self, infiller: Infiller, score: Score, region: Region, programs: list[int]):
        self.infiller, self.score, self.region, self.programs = infiller, score, region, programs
        self.lines = bar_lines(score)
        bars = len(self.lines) - 1
        if not 0 <= region.first < region.end <= bars:
            raise UserError(f"bars={region.first + 1}-{region.end}: the file has bars 1 to {bars}")
        self.start, self.end = int(self.lines[region.first]), int(self.lines[region.end])
        self.asked = tuple(sorted({programs[index] for index in region.tracks} | set(region.new)))
        left = without(score, region.tracks, self.start, self.end)
        if left.note_num() == 0:
            raise UserError(
                "nothing is left around this region to fill it by; leave some bars or tracks out of it, or compose "
                "anew with midifactory generate"
            )
        for track, program in zip(left.tracks, programs, strict=True):
            track.is_drum, track.program = program == DRUMS, max(0, program)
        self.around = self._passage(left, bars)
        self.scale = score.ticks_per_quarter / infiller.grammar.places.ticks_per_quarter
        self._check_bars()
        notes = note_arrays(left)
        columns = (notes["program"], notes["pitch"], notes["onset"], notes["onset"] + notes["duration"])
        self.old = [Sounding(*note) for note in zip(*(column.tolist() for column in columns), strict=True)]
        self.per_bar = self._expected(bars)
        self.sounds = self._sounding_bars(notes["onset"])
        self.velocity = int(np.median(notes["velocity"]))  # where the tokens tell none

    def _passage(self, left: Score, bars: int) -> Passage:
        """The surroundings, with the silent bars that the file has behind them."""
        rows = self.infiller.rows
        found = rows.read(self.infiller.tokenizer.encode(left).ids)
        if found is None:
            raise UserError("this file's notes cannot be told in this model's tokens bar by bar")
        metres = list(found.metres[:bars])
        while len(metres) < bars:  # the metre there is the Score's
            metres.append(self._metre_at(len(metres), metres[-1]))
        return Passage(tuple(metres), tuple(event for event in found.events if event.bar < bars), (), True, True)

    def _metre_at(self, bar: int, before: int) -> int:
        """The number of the metre of a bar in the Score; the one before it where the tokens tell no metres."""
        line = int(self.lines[bar])
        at = [signature for signature in self.score.time_signatures if signature.time <= line]
        if not at:
            return before
        last = max(at, key=lambda signature: signature.time)
        names = self.infiller.grammar.places.metre_names
        name = f"{last.numerator}/{last.denominator}"
        return names.index(name) if name in names and "TimeSig" in self.infiller.tokenizer.types else before

    def _check_bars(self) -> None:
        places = self.infiller.grammar.places
        lengths = np.array(places.bar_ticks)[list(self.around.metres)] * self.scale
        wrong = np.flatnonzero(np.abs(np.diff(self.lines) - lengths) > 1)
        if len(wrong):
            bar = int(wrong[0])
            beats = (self.lines[bar + 1] - self.lines[bar]) / self.score.ticks_per_quarter
            raise UserError(
                f"bar {bar + 1} has {beats:g} quarter notes, which this model's tokens cannot tell (it read it as "
                f"{places.metre_names[self.around.metres[bar]]}); give a file whose metres they can, or train with "
                "tokenizer.time_signature_range"
            )

    def _sounding_bars(self, others: np.ndarray) -> list[bool]:
        """(K,) in which bars a note has to begin: where one of these tracks did, or for new tracks any other does.

        In the region's last bar if in none.
        """
        region = self.region
        onsets = [track.notes.numpy()["time"] for track in (self.score.tracks[index] for index in region.tracks)]
        counts, _ = np.histogram(np.concatenate([*onsets, others if region.new else []]), self.lines)
        found = counts > 0
        found[region.end - 1] |= not found[region.first : region.end].any()
        return found.tolist()

    def _expected(self, bars: int) -> float:
        """Tokens that a bar of the fill may take: as many as stood there, or as the other instruments take."""
        rows, region = self.infiller.rows, self.region
        whole = self.score.copy()
        for track, program in zip(whole.tracks, self.programs, strict=True):
            track.is_drum, track.program = program == DRUMS, max(0, program)
        found = rows.read(self.infiller.tokenizer.encode(whole).ids)
        stood = 0.0
        if found is not None and region.tracks:
            events = [event for event in found.events if event.program in self.asked]
            stood = float(rows.lengths(found, events)[region.first : region.end].sum() / (region.end - region.first))
        if stood > rows.bar_head + 1:
            return stood
        tokens = sum(1 + len(event.ids) for event in self.around.events if event.is_note)
        return 1 + rows.bar_head + len(self.asked) * tokens / (max(1, len(self.around.programs)) * bars)

    # --- rounds ---

    def round(self, sample: _Sample) -> tuple[list[int], int, bool]:
        """The prompt for a sample's next bars, how many these are, and whether its gap has no more."""
        infiller, region = self.infiller, self.region
        window = min(infiller.trained.window, infiller.trained.model.context or infiller.trained.window)
        expected = self.per_bar * _SPARE
        left = region.end - sample.done
        bars = int(min(left, max(1, window * _FILL_SHARE // expected)))
        passage = self.around.of(sorted([*self.around.events, *sample.events], key=_as_encoded))
        costs = infiller.rows.lengths(passage, passage.events)
        fixed = 8 + len(self.asked)
        first = sample.done
        for count in range(bars, 0, -1):
            budget = window - fixed - min(count * expected, window * _FILL_SHARE)
            reach = around(costs, first, first + count, budget)
            if reach is not None:
                break
        else:
            raise UserError(
                f"bar {first + 1}: what sounds there beside the region has {int(costs[first])} tokens, more than this "
                f"model's window of {window} has room for; fill more tracks at once"
            )
        lower, upper = reach
        part = passage.part(lower, upper)
        gap = first - lower, min(region.end, upper) - lower
        split = Split(part.events, (), gap, self.asked)
        prompt = infiller.tokenizer.to_model_ids(infiller.rows.write(part, split, span=False)).tolist()
        return prompt, count, first + count == min(region.end, upper)

    def guide(self, sample: _Sample, bars: int, closes: bool, walk: Walk) -> FillGuide:
        """The guide of a round."""
        first = sample.done
        metres = self.around.metres[first : first + bars]
        places = self.infiller.grammar.places
        length = sum(places.bar_ticks[metre] for metre in metres)
        busy = Busy(self.infiller.grammar, self._sounding(sample, first), length)
        most = int(max(_LEAST_MOST, _MOST_PER_BAR * self.per_bar))
        sounds = self.sounds[first : first + bars]
        return FillGuide(walk, self.infiller.tables, metres, busy, sounds, closes, most)

    def _sounding(self, sample: _Sample, first: int) -> Iterable[Sounding]:
        """What sounds from outside in the bars from `first` on, in ticks of the walk from there."""
        line = int(self.lines[first])
        for program, pitch, start, end in (*self.old, *sample.sounding):
            yield Sounding(program, pitch, int((start - line) // self.scale), math.ceil((end - line) / self.scale))

    def take(self, sample: _Sample, bars: int, said: Sequence[int], guide: FillGuide) -> None:
        """Add what a row said to its sample."""
        infiller, first = self.infiller, sample.done
        ids = [infiller.tokenizer.bos_id, *infiller.tokenizer.to_base_ids(said).tolist()]
        passage = infiller.rows.read(ids)
        if passage is not None:
            sample.events += [event._replace(bar=event.bar + first) for event in passage.events if event.bar < bars]
        metres = self.around.metres[first : first + bars]
        edges = np.cumsum([0, *(infiller.grammar.places.bar_ticks[metre] for metre in metres)])
        for struck in guide.walk.finished:
            bar = int(np.searchsorted(edges, struck.onset_ticks, side="right")) - 1
            if bar >= bars:
                continue
            start = int(self.lines[first + bar]) + round((struck.onset_ticks - int(edges[bar])) * self.scale)
            later = (note.start_tick for note in self.old if note[:2] == (struck.program, struck.pitch))
            end = start + max(1, round(struck.duration_ticks * self.scale))
            end = min((end, self.end, *(onset for onset in later if onset > start)))
            velocity = struck.velocity if "Velocity" in infiller.tokenizer.types else self.velocity
            sample.notes.append((struck.program, Note(start, end - start, struck.pitch, velocity)))
            sample.sounding.append(Sounding(struck.program, struck.pitch, start, end))
        sample.done += bars

    def finished(self, sample: _Sample) -> Filled:
        """The Score of a sample, all of whose bars are filled."""
        notes: defaultdict[int, list[Note]] = defaultdict(list)
        added = {program: _new_track(program) for program in self.region.new}
        tracks_of: defaultdict[int, list[int]] = defaultdict(list)
        for index in self.region.tracks:
            tracks_of[self.programs[index]].append(index)
        heights = {index: _height(self.score.tracks[index]) for index in self.region.tracks}
        for program, note in sample.notes:
            if tracks := tracks_of[program]:
                _, nearest = min((abs(heights[index] - note.pitch), index) for index in tracks)
                notes[nearest].append(note)
            else:
                added[program].notes.append(note)
        for track in added.values():
            track.notes.sort(key=lambda note: (note.time, note.pitch), inplace=True)
        whole = splice(self.score, self.region.tracks, self.start, self.end, notes, list(added.values()))
        onsets = [note.time for _, note in sample.notes]
        per_bar, _ = np.histogram(onsets, self.lines[self.region.first : self.region.end + 1])
        return Filled(whole, self.start, self.end, len(onsets), tuple(int(count) for count in per_bar))


def _as_encoded(event: Event) -> tuple[int, int, float]:
    """The order of the encoder: tempos, then programs as they rise, drums last."""
    program = event.program
    return event.bar, event.offset_ticks, -1.0 if program is None else 1000.0 if program == DRUMS else float(program)


def _new_track(program: int) -> Track:
    import pretty_midi

    name = "Drums" if program == DRUMS else pretty_midi.program_to_instrument_name(program)
    return Track(name, max(0, program), program == DRUMS)
