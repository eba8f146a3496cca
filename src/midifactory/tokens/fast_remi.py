"""MidiTok's REMI from arrays: the same ids without an object per token.

Order of events, chords and time tokens follow `miditok.REMI` 3.1; tests/tokens/test_fast_remi.py compares the two,
benchmarks/encode.py times them.

Legend: N notes or tokens, E events (what MidiTok sorts), B blocks (events behind one set of time tokens).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import miditok
import numpy as np
from miditok.constants import CURRENT_MIDITOK_VERSION, PITCH_CLASSES, UNKNOWN_CHORD_PREFIX
from symusic import Score, Tempo

from midifactory.tokens.quantise import MAX_TICK, Grid, Metres, Notes, Quantiser

# MidiTok looks at no more notes than these for one chord (`simul_notes_limit`), and 3 to 5 of them can form one.
_CHORD_WINDOW, _CHORD_SIZES, _CHORD_REACH_SEMITONES = 10, (3, 5), 24
_OFF = (
    "program_changes",
    "use_pitch_intervals",
    "use_key_signatures",
    "use_sustain_pedals",
    "use_pitch_bends",
    "use_control_changes",
)
_ON = ("use_programs", "one_token_stream_for_programs", "remove_duplicated_notes")


@dataclass(frozen=True)
class FastEncoding:
    """ids: (N,) int64 base ids without BOS and EOS. event_ticks: (N,) int64, MidiTok's time of each token.

    Ticks are those of the quantised grid, `ticks_per_quarter` of them in a quarter note.
    """

    ids: np.ndarray
    event_ticks: np.ndarray
    ticks_per_quarter: int


class FastRemi:
    """Base ids of MidiTok's REMI from arrays. Raises ValueError for settings that `unsupported` names."""

    def __init__(self, inner: miditok.REMI):
        reason = self.unsupported(inner)
        if reason is not None:
            raise ValueError(f"FastRemi cannot stand in for MidiTok: {reason}")
        self._inner, self._config = inner, inner.config
        self._quantise = Quantiser(inner)
        config = inner.config

        def ids(tokens: Iterable[str]) -> np.ndarray:
            return np.array([inner.vocab.get(token, -1) for token in tokens], dtype=np.int64)

        self._bar_id = int(inner.vocab["Bar_None"])
        self._position_ids = ids(f"Position_{i}" for i in range(sum(t.startswith("Position_") for t in inner.vocab)))
        drum = "PitchDrum" if config.use_pitchdrum_tokens else "Pitch"
        self._pitch_ids = np.stack([ids(f"{kind}_{pitch}" for pitch in range(128)) for kind in ("Pitch", drum)])
        self._velocity_ids = ids(f"Velocity_{value}" for value in inner.velocities)
        self._rest_ids = ids(f"Rest_{'.'.join(map(str, rest))}" for rest in inner.rests)
        # By ticks per beat and duration in ticks.
        names = inner._tpb_ticks_to_tokens
        self._duration_ids = np.full((max(names) + 1, max(map(max, names.values())) + 1), -1)
        for per_beat, by_ticks in names.items():
            self._duration_ids[per_beat, list(by_ticks)] = ids(f"Duration_{name}" for name in by_ticks.values())
        if config.use_tempos:
            # The names are made from what symusic gives back for a tempo, as MidiTok does.
            mspq = inner._tempos_mspq
            tempos = Tempo.from_numpy(time=np.zeros(len(mspq), dtype=np.int32), mspq=mspq)
            self._tempo_ids = ids(f"Tempo_{round(tempo.tempo, 2)}" for tempo in tempos)
        if config.use_chords:
            self._chord_codes, self._chord_ids = self._chord_tables()

    @staticmethod
    def unsupported(inner: miditok.MusicTokenizer) -> str | None:
        """Why these settings need MidiTok itself, in a few words; None where FastRemi gives the same ids."""
        if not CURRENT_MIDITOK_VERSION.startswith("3.1."):
            return f"MidiTok {CURRENT_MIDITOK_VERSION} may read scores differently from 3.1"
        if type(inner) is not miditok.REMI:
            return f"the scheme is {type(inner).__name__}"
        config = inner.config
        for names, wanted in ((_OFF, False), (_ON, True)):
            for name in names:
                if bool(getattr(config, name)) is not wanted:
                    return f"{name}={str(not wanted).lower()}"
        for name in ("max_bar_embedding", "use_bar_end_tokens", "add_trailing_bars"):
            value = config.additional_params.get(name)
            if value or (name == "max_bar_embedding" and value is not None):
                return f"{name}={value}"
        if any(not isinstance(intervals, tuple) for intervals in (config.chord_maps or {}).values()):
            return "chord_maps with lists, which MidiTok never finds; write tuples"
        if inner.attribute_controls:
            return "attribute controls"
        if not set(config.programs) <= set(config.use_note_duration_programs):
            return "use_note_duration_programs leaves out programs"
        tables = [inner._tpb_to_time_array] + [inner._tpb_to_rest_array] * config.use_rests
        if any(np.any(np.diff(bins, prepend=0) <= 0) for table in tables for per, bins in table.items() if per > 0):
            return "beat_res or beat_res_rest with ranges that do not rise"
        return None

    def encode(self, score: Score) -> FastEncoding:
        """The source Score, not quantised, as MidiTok encodes it after `Tokenizer.quantise`.

        Raises ValueError where MidiTok raises, and for scores that `Quantiser` refuses, which MidiTok may take.
        """
        try:
            grid = self._quantise(score)
            ids, ticks = self._tokens(grid)
        except (KeyError, IndexError, ZeroDivisionError) as error:
            raise ValueError(f"no REMI tokens for this score: {error!r}") from error
        if np.any(ids < 0):
            raise ValueError("a token of this score is not in the vocabulary")
        return FastEncoding(ids, ticks, grid.ticks_per_quarter)

    def _tokens(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """All tokens and their ticks: MidiTok's events in its order, with the time tokens before them."""
        vocab, notes, programs = self._inner.vocab, grid.notes, np.array(grid.programs, dtype=np.int64)
        metre_names = grid.metre_names if self._config.use_time_signatures else []
        metre_ids = np.array([vocab.get(f"TimeSig_{name}", -1) for name in metre_names], dtype=np.int64)
        metre_ticks = grid.metres.tick[: len(metre_ids)]
        chord_notes, chord_ids = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        if self._config.use_chords:
            pitched = np.flatnonzero(programs[notes.program] != -1)
            found, chord_ids = self._chords(Notes(*(column[pitched] for column in notes)))
            chord_notes = pitched[found]
        chord_ticks, chord_program = notes.tick[chord_notes], notes.program[chord_notes]

        # At one tick: metre, tempo, then by program its chord and its notes.
        width = 3 + self._config.use_velocities
        events = [  # tick, end, rank at the tick, number of tokens
            (metre_ticks, metre_ticks, np.zeros_like(metre_ids), 1),
            (grid.tempo_ticks, grid.tempo_ticks, np.ones_like(grid.tempo_ticks), 1),
            (chord_ticks, chord_ticks, 2 + 2 * chord_program, 2),
            (notes.tick, notes.tick + notes.duration, 3 + 2 * notes.program, width),
        ]
        sizes = [len(kind[0]) for kind in events]
        if sum(sizes) == 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        tick, end, rank = (np.concatenate([kind[column] for kind in events]) for column in range(3))
        order = np.argsort(tick * (2 * len(programs) + 2) + rank, kind="stable")
        tokens = np.repeat([kind[3] for kind in events], sizes)[order]
        ids, ticks, place = self._time_tokens(grid.metres, metre_ids, tick[order], end[order], tokens, order)

        at = np.empty_like(place)
        at[order] = place
        at_metre, at_tempo, at_chord, at_note = np.split(at, np.cumsum(sizes[:-1]))
        program_ids = np.array([vocab.get(f"Program_{program}", -1) for program in grid.programs], dtype=np.int64)
        ids[at_metre] = metre_ids
        if self._config.use_tempos:
            ids[at_tempo] = self._tempo_ids[grid.tempo_bins]
        ids[at_chord], ids[at_chord + 1] = program_ids[chord_program], chord_ids
        ids[at_note] = program_ids[notes.program]
        ids[at_note + 1] = self._pitch_ids[(programs[notes.program] == -1).astype(np.int64), notes.pitch]
        if self._config.use_velocities:
            ids[at_note + 2] = self._velocity_ids[notes.velocity_bin]
        ids[at_note + width - 1] = self._duration_ids[notes.ticks_per_beat, notes.duration]
        return ids, ticks

    def _time_tokens(
        self,
        metres: Metres,
        metre_ids: np.ndarray,
        tick: np.ndarray,
        end: np.ndarray,
        tokens: np.ndarray,
        order: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rest, Bar, TimeSig and Position tokens, as in `REMI._add_time_events`.

        tick, end, tokens (how many an event has) and order (which event it is): all (E,), sorted. Gives ids, -1
        where an event's tokens will stand, and ticks, both (N,), and the place (E,) of each event's first token.
        """
        is_metre = order < len(metre_ids)
        # A block begins with each new tick and after a time signature. It is judged by the metre before it.
        opens = np.append(True, (np.diff(tick) != 0) | is_metre[:-1])
        block = np.flatnonzero(opens)
        now, starts_metre = tick[block], is_metre[block]
        metre = np.maximum(np.cumsum(is_metre)[block] - starts_metre - 1, 0)
        silent_from = np.append(0, np.maximum.accumulate(end)[:-1])[block]
        rest_block, rest_ids, rest_ticks, rest_until = self._rests(metres.per_beat[metre], silent_from, now)
        rests = np.bincount(rest_block, minlength=len(block))
        bar = metres.bar_at(metre, now)
        # Bars that a rest reaches get no token.
        written_bar = np.maximum(np.append(-1, bar[:-1]), np.where(rests, metres.bar_at(metre, rest_until), -1))
        new_bars = bar - written_bar

        per_bar = 2 if len(metre_ids) else 1  # a Bar and its TimeSig, unless that is the event itself
        header = rests + per_bar * new_bars - (starts_metre & (new_bars > 0)) + ~starts_metre
        place = np.cumsum(tokens) - tokens + np.cumsum(header)[np.cumsum(opens) - 1]
        opening = place[block] - header
        ticks = np.repeat(now, header + np.add.reduceat(tokens, block))
        ids = np.full(len(ticks), -1)

        at = opening[rest_block] + _index_in_run(rest_block)
        ids[at], ticks[at] = rest_ids, rest_ticks
        owner = np.repeat(np.arange(len(block)), new_bars)
        nth = _index_in_run(owner)
        at = opening[owner] + rests[owner] + per_bar * nth
        ids[at], ticks[at] = self._bar_id, metres.tick_of(metre[owner], written_bar[owner] + 1 + nth)
        if len(metre_ids):
            named = ~starts_metre[owner] | (nth + 1 < new_bars[owner])
            ids[at[named] + 1], ticks[at[named] + 1] = metre_ids[metre[owner][named]], ticks[at[named]]
        position = (now - metres.tick_of(metre, bar)) // metres.per_position[metre]
        ids[place[block][~starts_metre] - 1] = self._position_ids[position[~starts_metre]]
        return ids, ticks, place

    def _rests(
        self, per_beat: np.ndarray, silent_from: np.ndarray, now: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rest tokens: block, id and tick, all (N,); and (B,) the tick that each block's rests reach.

        A pause is filled greedily with the longest rests that fit, as in `MusicTokenizer._time_ticks_to_tokens`.
        """
        blocks, kinds, lengths = ([np.zeros(0, dtype=np.int64)] for _ in range(3))
        for value in np.unique(per_beat) if self._config.use_rests else ():
            bins = self._inner._tpb_to_rest_array[int(value)].astype(np.int64)
            waiting = np.flatnonzero((per_beat == value) & (now - silent_from >= bins[0]))
            left = (now - silent_from)[waiting]
            owner = np.repeat(waiting, left // bins[-1])
            kind = np.full(len(owner), len(bins) - 1)
            left = left % bins[-1]
            while len(kind) or len(waiting):
                blocks.append(owner)
                kinds.append(kind)
                lengths.append(bins[kind])
                kind = np.searchsorted(bins, left, side="right") - 1
                fits = kind >= 0
                owner, waiting, kind = waiting[fits], waiting[fits], kind[fits]
                left = left[fits] - bins[kind]
        block, kind, length = (np.concatenate(parts) for parts in (blocks, kinds, lengths))
        order = np.argsort(block, kind="stable")
        block, kind, length = block[order], kind[order], length[order]
        before = np.cumsum(length) - length
        ticks = silent_from[block] + before - before[np.arange(len(block)) - _index_in_run(block)]
        until = silent_from + np.bincount(block, weights=length, minlength=len(now)).astype(np.int64)
        return block, self._rest_ids[kind], ticks, until

    def _chord_tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Sorted codes (K,) of the known chords; ids (K + 3, 12) by chord and root, then by size where unknown.

        MidiTok writes unknown chords only where `chord_unknown` is set.
        """
        config, vocab = self._config, self._inner.vocab
        least, most = _CHORD_SIZES
        qualities: dict[int, str] = {}
        for quality, intervals in config.chord_maps.items():
            if least <= len(intervals) <= most and intervals[0] == 0 and max(map(abs, intervals)) < 128:
                padded = np.array([(*intervals, 0, 0)])
                qualities.setdefault(int(_chord_code(padded, np.array([len(intervals)]))[0]), quality)
        codes = sorted(qualities)
        names = [qualities[code] for code in codes]
        if config.chord_unknown is not None:
            names += [f"{UNKNOWN_CHORD_PREFIX}{size}" for size in range(least, most + 1)]
        roots = [f"{root}:" if config.chord_tokens_with_root_note else "" for root in PITCH_CLASSES]
        ids = np.array([[vocab.get(f"Chord_{root}{name}", -1) for root in roots] for name in names], dtype=np.int64)
        return np.array(codes, dtype=np.int64), ids.reshape(len(names), len(roots))

    def _chords(self, notes: Notes) -> tuple[np.ndarray, np.ndarray]:
        """Index of each chord's first note, and the chord's id: `miditok.utils.detect_chords` for all tracks at once.

        MidiTok walks from window to window. Where it goes from a note depends on that note alone, so all windows
        are judged at once and only the walk is a loop.
        """
        size = len(notes.tick)
        none = np.zeros(0, dtype=np.int64)
        if size == 0:
            return none, none
        line = notes.program * (4 * MAX_TICK) + notes.tick  # one axis of time on which no window reaches the next track
        end = notes.tick + notes.duration
        half = notes.ticks_per_beat // 2
        reach = np.floor(notes.ticks_per_beat / self._inner._first_beat_res).astype(np.int64)
        ambiguous = np.zeros(size, dtype=bool)
        near, same = np.ones(size, dtype=np.int64), np.ones(size, dtype=np.int64)
        for ahead in range(1, min(_CHORD_WINDOW, size)):
            gap = line[ahead:] - line[:-ahead]
            within = gap <= reach[:-ahead]
            if not within.any():
                break
            near[:-ahead] += within
            same[:-ahead] += gap == 0
            ambiguous[:-ahead] |= within & (np.abs(end[ahead:] - end[:-ahead]) > half[:-ahead])
        members = np.where(notes.duration <= half, same, near)
        # A chord's step goes past all notes of its last onset; an ambiguous window is only left behind.
        starts = np.append(True, np.diff(line) != 0)
        onset_end = np.append(np.flatnonzero(starts), size)[np.cumsum(starts)]
        index = np.arange(size)
        step = np.where(ambiguous, index + near, onset_end[index + members - 1]).tolist()
        at, visited = 0, []
        while at < size:
            visited.append(at)
            at = step[at]
        least, most = _CHORD_SIZES
        first = np.array(visited)
        first = first[~ambiguous[first] & (members[first] >= least) & (members[first] <= most)]
        count = members[first]
        reached = notes.pitch[first + count - 1] - notes.pitch[first] <= _CHORD_REACH_SEMITONES
        first, count = first[reached], count[reached]
        if len(first) == 0:
            return none, none
        window = np.minimum(first[:, None] + np.arange(most), size - 1)
        codes = _chord_code(notes.pitch[window] - notes.pitch[first][:, None], count)
        row = np.searchsorted(self._chord_codes, codes)
        found = np.append(self._chord_codes, -1)[row] == codes
        row = np.where(found, row, len(self._chord_codes) + count - least)
        if self._config.chord_unknown is None:
            first, row = first[found], row[found]
        return first, self._chord_ids[row, notes.pitch[first] % len(PITCH_CLASSES)]


def _chord_code(intervals: np.ndarray, count: np.ndarray) -> np.ndarray:
    """One number for each row of semitones (C, 5) above the first note, of which `count` (C,) are in the chord."""
    code = count
    for column in range(1, _CHORD_SIZES[1]):
        code = code * 256 + np.where(column < count, intervals[:, column] + 128, 0)
    return code


def _index_in_run(values: np.ndarray) -> np.ndarray:
    """For each of (N,) sorted values how many equal ones stand before it."""
    return np.arange(len(values)) - np.searchsorted(values, values)
