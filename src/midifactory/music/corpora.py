"""Collections of pieces: a folder of MIDI files, or the Bach chorales that music21 carries.

Both are read in worker processes, freed of copies by musical content, and split by piece, so that no
music of the validation or test split is heard in training.
"""

import csv
import hashlib
import io
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Score
from tqdm import tqdm

from midifactory import files
from midifactory.errors import UserError
from midifactory.music.chorales import chorale_score
from midifactory.music.score import UnreadableMidi, bar_count, load_score, note_arrays, save_score

SPLITS = ("train", "validation", "test")
MIDI_SUFFIXES = (".mid", ".midi")
# Up to here, reading in this process is over before a worker process has started.
FEW_FILES = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """One usable MIDI file. `id` is unique in its corpus: a relative path or a catalogue number."""

    id: str
    path: Path
    split: str
    notes: int


@dataclass(frozen=True)
class Rejected:
    """A file that holds no usable music, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Corpus:
    """What was found: every file is a piece, or rejected, or a duplicate (dropped id, kept id)."""

    name: str
    pieces: tuple[Piece, ...]
    rejected: tuple[Rejected, ...]
    duplicates: tuple[tuple[str, str], ...]

    def of(self, split: str) -> tuple[Piece, ...]:
        """The pieces of "train", "validation" or "test", in the corpus's order."""
        if split not in SPLITS:
            raise UserError(f"split {split!r} is unknown; use one of {', '.join(SPLITS)}")
        return tuple(piece for piece in self.pieces if piece.split == split)

    def summary(self) -> str:
        """Two lines for a log: pieces and notes, how they are split, and what was left out."""
        parts = ", ".join(f"{len(self.of(split))} {split}" for split in SPLITS)
        notes = sum(piece.notes for piece in self.pieces)
        return (
            f"{self.name}: {len(self.pieces)} pieces, {notes} notes ({parts})\n"
            f"left out: {len(self.rejected)} rejected, {len(self.duplicates)} duplicates"
        )


def split_pieces(ids: Iterable[str], fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0) -> dict[str, str]:
    """Assign every id to "train", "validation" or "test"; the order of `ids` does not matter.

    The two smaller splits are rounded to whole pieces, each split gets at least one, train takes the rest.
    Raises UserError for fewer than 3 different ids, or for fractions that are not three positive numbers with sum 1.
    """
    _check_fractions(fractions)
    ordered = sorted(set(ids))
    if len(ordered) < len(SPLITS):
        raise UserError(
            f"{len(ordered)} pieces cannot fill train, validation and test; at least 3 are needed: "
            "add MIDI files (copies and unreadable files do not count)"
        )
    sizes = {split: max(1, round(len(ordered) * share)) for split, share in zip(SPLITS[1:], fractions[1:], strict=True)}
    while sum(sizes.values()) >= len(ordered):  # lopsided fractions of a few pieces: leave one to train
        sizes[max(sizes, key=lambda split: sizes[split])] -= 1
    labels = [split for split, size in sizes.items() for _ in range(size)]
    labels += [SPLITS[0]] * (len(ordered) - len(labels))
    order = np.random.default_rng(seed).permutation(len(ordered))
    return {ordered[position]: label for position, label in zip(order, labels, strict=True)}


def content_hash(score: Score, any_key: bool = False) -> str:
    """SHA-256 of the music: onset and duration of every note as fractions of a quarter, pitch, program or drums.

    Ticks per quarter, file type, track names, tempo and velocities do not count, so a copy saved by another
    program has the same hash. With `any_key` a transposed copy has it too.
    """
    notes = note_arrays(score)
    pitch = notes["pitch"]
    pitched = notes["program"] >= 0
    if any_key and pitched.any():
        pitch = np.where(pitched, pitch - pitch[pitched].min(), pitch)
    order = np.lexsort((notes["duration"], notes["program"], pitch, notes["onset"]))
    columns = [pitch, notes["program"]]
    for ticks in (notes["onset"], notes["duration"]):
        divisor = np.gcd(ticks, score.ticks_per_quarter)
        columns += [ticks // divisor, score.ticks_per_quarter // divisor]  # numerator and denominator in quarters
    return hashlib.sha256(np.stack(columns)[:, order].astype("<i8").tobytes()).hexdigest()


class Folder:
    """Every .mid and .midi file below `root` (any case), sorted by relative path.

    `limit` takes the first so many files of the sorted list. `workers` is the number of processes: None for
    one per core (and none for a few files), 0 for this process, which a crash of the parser would end.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        limit: int | None = None,
        fractions: Sequence[float] = (0.8, 0.1, 0.1),
        seed: int = 0,
        workers: int | None = None,
        name: str | None = None,
    ) -> None:
        _check_numbers(limit, workers)
        _check_fractions(fractions)
        self.root = root
        self.limit = limit
        self.fractions = tuple(fractions)
        self.seed = seed
        self.workers = workers
        self.name = name

    def collect(self, progress: bool = True) -> Corpus:
        """Read, deduplicate and split the files; about 1 ms each and core.

        Raises UserError for a root that is not set, missing or a file, for a folder without MIDI files, with only
        broken ones, or with fewer than 3 different pieces.
        """
        if self.root is None or str(self.root) in ("", "???"):
            raise UserError("data.root is not set: name a folder of MIDI files, for example data.root=my_midis")
        root = Path(self.root).expanduser()
        if not root.exists():
            raise UserError(f"data.root={root} does not exist; name a folder of MIDI files")
        if not root.is_dir():
            raise UserError(f"data.root={root} is a file, not a folder; name the folder that holds it")
        paths = dict(_midi_files(root)[: self.limit])
        if not paths:
            raise UserError(f"data.root={root} holds no .mid or .midi files; name a folder that does")
        results = _in_workers(_inspect, list(paths.values()), self.workers, progress, "reading MIDI")
        inspected = dict(zip(paths, results, strict=True))
        reasons = [(key, item.reason) for key, item in inspected.items() if item.reason]
        if len(reasons) == len(inspected):
            raise UserError(
                f"none of the {len(reasons)} MIDI files in data.root={root} can be used "
                f"(the first, {reasons[0][0]}: {reasons[0][1]}); add files that can"
            )
        return _assemble(self.name or root.resolve().name, inspected, paths, self.fractions, self.seed)


# --- Bach chorales ---------------------------------------------------------------------------------------

# What music21 10.5 gives; the pieces are listed in bach_chorales.csv beside this file.
EXPECTED_COUNT = 359
# Pairs in which at least 90 % of the eighth-note cells of all voices are equal up to transposition: one
# composition with a passing note or a tie changed. The next pair has 87 %.
NEAR_COPIES = {
    "bwv18.5-w": "bwv18.5-lz",
    "bwv177.4": "bwv117.4",
    "bwv279": "bwv158.4",
    "bwv414": "bwv253",
    "bwv62.6": "bwv274",
}
# Raise it with every change of the export, so that older caches are exported again.
EXPORT_FORMAT = 1


class BachChorales:
    """The four-part chorales by J. S. Bach in the corpus of the music21 package, exported once to `root`.

    Rule: every score of `corpus.getComposer("bach")` (the .rntxt analyses are no scores) with exactly four parts,
    named Soprano, Alto, Tenor and Bass, each with notes. That leaves out chorales with instruments of their own, the
    five-part ones and the one keyboard piece. Of chorales with the same music in any key, NEAR_COPIES included, the
    first by file name is kept, as copies must not fall on two sides of a split. Different harmonisations of one
    melody are different pieces and stay.

    The MIDI files have one track for each voice, constant velocity, repeats as written once, no grace notes, and one
    tempo of 80 bpm, since nine in ten encodings give none. A pickup stands at the end of a first whole bar.

    `limit` takes the first so many scores before the rule is applied. `workers` is as for Folder.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = "outputs/corpora/bach_chorales",
        *,
        limit: int | None = None,
        fractions: Sequence[float] = (0.8, 0.1, 0.1),
        seed: int = 0,
        workers: int | None = None,
    ) -> None:
        _check_numbers(limit, workers)
        _check_fractions(fractions)
        self.root = Path(root).expanduser()
        self.limit = limit
        self.fractions = tuple(fractions)
        self.seed = seed
        self.workers = workers

    def collect(self, progress: bool = True) -> Corpus:
        """Open the cache, or export what it lacks: about 10 s on two cores for all, then milliseconds.

        An interrupted export goes on where it stopped. Raises UserError when `root` cannot be written. Paths of
        rejected scores are file names inside music21's corpus.
        """
        inspected = self._exported(progress)
        paths = {key: self._target(key) if not item.reason else Path(key) for key, item in inspected.items()}
        return _assemble("bach_chorales", inspected, paths, self.fractions, self.seed)

    def manifest(self, progress: bool = True) -> str:
        """CSV of every score considered: id, notes, bars, metre, outcome, and the reason or the id it duplicates."""
        inspected = self._exported(progress)
        kept_as, _ = _without_duplicates(inspected)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("id", "notes", "bars", "metre", "outcome", "reason"))
        for key, item in inspected.items():
            if item.reason:
                writer.writerow((key, "", "", "", "rejected", item.reason))
                continue
            outcome = ("kept", "") if kept_as[key] == key else ("duplicate", kept_as[key])
            writer.writerow((key, item.notes, item.bars, item.metre, *outcome))
        return text.getvalue()

    def _target(self, key: str) -> Path:
        return self.root / f"{key}.mid"

    def _exported(self, progress: bool) -> dict[str, "_Inspected"]:
        """All scores up to `limit` by id, in the order of their file names, from the index or newly exported."""
        index = self._read_index()
        known = {key: _Inspected(**fields) for key, fields in index["scores"].items()} if index else {}
        wanted = list(known)[: self.limit]
        total = index["total"] if index else None
        covered = total is not None and len(wanted) == min(self.limit or total, total)
        if covered and all(known[key].reason or self._target(key).is_file() for key in wanted):
            return self._with_near_copies({key: known[key] for key in wanted})

        sources = _bach_sources()
        wanted = list(sources)[: self.limit]
        try:
            if index is None:  # made by another version, or not by this class: nothing there can be reused
                for key in sources:
                    self._target(key).unlink(missing_ok=True)
                self._write_index(None, {})
            todo = [key for key in wanted if key not in known or not (known[key].reason or self._target(key).is_file())]
            jobs = [(sources[key], self._target(key)) for key in todo]
            results = _in_workers(_export_chorale, jobs, self.workers, progress, "exporting chorales")
            known |= dict(zip(todo, results, strict=True))
            known = {key: known[key] for key in sources if key in known}
            self._write_index(len(sources), known)
        except OSError as error:
            raise UserError(
                f"data.root={self.root} cannot be written ({error.strerror}); name another folder"
            ) from error
        found = self._with_near_copies({key: known[key] for key in wanted})
        count = len(_without_duplicates(found)[1])
        if self.limit is None and count != EXPECTED_COUNT:
            log.warning("music21 %s gives %d chorales, not %d", version("music21"), count, EXPECTED_COUNT)
        return found

    @staticmethod
    def _with_near_copies(found: dict[str, "_Inspected"]) -> dict[str, "_Inspected"]:
        """`found` with the digest of a near copy replaced by its original's, where both are there."""
        pairs = {copy: original for copy, original in NEAR_COPIES.items() if copy in found and original in found}
        return found | {copy: replace(found[copy], digest=found[original].digest) for copy, original in pairs.items()}

    def _read_index(self) -> dict[str, Any] | None:
        """The index, or None when there is none that this version wrote."""
        try:
            index = json.loads((self.root / "index.json").read_text(encoding="utf-8"))
            fits = (index["format"], index["music21"]) == (EXPORT_FORMAT, version("music21"))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return index if fits else None

    def _write_index(self, total: int | None, scores: dict[str, "_Inspected"]) -> None:
        """`total` is the number of scores in music21, None while the first export runs."""
        index = {"format": EXPORT_FORMAT, "music21": version("music21"), "total": total}
        index["scores"] = {key: asdict(item) for key, item in scores.items()}
        files.write_text(self.root / "index.json", json.dumps(index, indent=1) + "\n")


def _bach_sources() -> dict[str, Path]:
    """The scores by id, which is the catalogue number; other encodings of the same number keep their suffix."""
    from music21 import corpus

    paths = sorted((Path(path) for path in corpus.getComposer("bach")), key=lambda path: path.name)
    return {path.stem if path.suffix == ".mxl" else path.name: path for path in paths if path.suffix != ".rntxt"}


def _export_chorale(job: tuple[Path, Path]) -> "_Inspected":
    """Convert one score of music21 to a MIDI file, unless an interrupted export has already done so."""
    from music21 import converter

    source, target = job
    try:
        score = load_score(target)
    except UnreadableMidi:
        try:
            # forceSource: music21 would otherwise leave a pickle of every score in the temporary folder.
            score = chorale_score(converter.parse(source, forceSource=True))
        except UnreadableMidi as error:
            return _Inspected(reason=str(error))
        save_score(score, target)
    metre = score.time_signatures[0]
    return _Inspected(
        notes=score.note_num(),
        digest=content_hash(score, any_key=True),
        bars=bar_count(score),
        metre=f"{metre.numerator}/{metre.denominator}",
    )


# --- what both share -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Inspected:
    """What is known of one file; a `reason` means that it cannot be used."""

    notes: int = 0
    digest: str = ""
    bars: int = 0
    metre: str = ""
    reason: str = ""


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) != len(SPLITS) or not all(share > 0 for share in fractions):
        raise UserError(f"fractions={list(fractions)} must be three numbers above 0: train, validation, test")
    if not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise UserError(f"fractions={list(fractions)} sum to {sum(fractions):g}; make it 1")


def _check_numbers(limit: int | None, workers: int | None) -> None:
    if limit is not None and limit < 1:
        raise UserError(f"limit={limit} takes no files; set it to 1 or more, or to null for all")
    if workers is not None and workers < 0:
        raise UserError(f"workers={workers} is negative; set 0 for this process alone, or null for one per core")


def _midi_files(root: Path) -> list[tuple[str, Path]]:
    """(id, path) of the MIDI files below `root`, sorted by id; linked folders, which may form loops, are left out."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            if name.lower().endswith(MIDI_SUFFIXES):
                path = Path(folder, name)
                relative = path.relative_to(root).as_posix()
                # A name that is not UTF-8 could not be printed or written to an index.
                found.append((relative.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), path))
    return sorted(found)


def _inspect(path: Path) -> _Inspected:
    try:
        score = load_score(path)
    except UnreadableMidi as error:
        return _Inspected(reason=str(error))
    return _Inspected(notes=score.note_num(), digest=content_hash(score))


def _without_duplicates(inspected: dict[str, _Inspected]) -> tuple[dict[str, str], list[str]]:
    """For every usable id the first id with the same music, and the ids that are their own first."""
    first: dict[str, str] = {}
    kept_as = {key: first.setdefault(item.digest, key) for key, item in inspected.items() if not item.reason}
    return kept_as, list(first.values())


def _assemble(
    name: str,
    inspected: dict[str, _Inspected],
    paths: dict[str, Path],
    fractions: Sequence[float],
    seed: int,
) -> Corpus:
    kept_as, kept = _without_duplicates(inspected)
    splits = split_pieces(kept, fractions, seed)
    return Corpus(
        name=name,
        pieces=tuple(Piece(key, paths[key], splits[key], inspected[key].notes) for key in kept),
        rejected=tuple(Rejected(paths[key], item.reason) for key, item in inspected.items() if item.reason),
        duplicates=tuple((key, first) for key, first in kept_as.items() if key != first),
    )


def _pool(workers: int) -> ProcessPoolExecutor:
    # spawn: a fork of a process with torch's or a notebook's threads can hang.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _in_workers(
    task: Callable[[Any], _Inspected], items: Sequence[Any], workers: int | None, progress: bool, label: str
) -> list[_Inspected]:
    """`task` of every item, in the order of `items`; an item that ends its worker process is rejected."""
    results: dict[int, _Inspected] = {}
    with tqdm(total=len(items), desc=label, unit="file", disable=not progress) as bar:

        def done(index: int, result: _Inspected) -> None:
            results[index] = result
            bar.update()

        few = workers is None and len(items) <= FEW_FILES
        if not items or workers == 0 or few or not _fill_from_pool(task, items, workers, done):
            for index, item in enumerate(items):
                done(index, task(item))
        _retry_alone(task, items, [index for index in range(len(items)) if index not in results], done)
    return [results[index] for index in range(len(items))]


def _fill_from_pool(
    task: Callable[[Any], _Inspected],
    items: Sequence[Any],
    workers: int | None,
    done: Callable[[int, _Inspected], None],
) -> bool:
    """Work through `items` until all are done or a worker dies; False where no worker process can start."""
    pool = _pool(min(workers or os.cpu_count() or 1, len(items)))
    try:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool:
            log.warning('worker processes cannot start (a script needs `if __name__ == "__main__":`); using none')
            return False
        try:
            futures = {pool.submit(task, item): index for index, item in enumerate(items)}
        except BrokenProcessPool:
            return True
        for future in as_completed(futures):
            # What was finished before a worker died is kept, the rest gets its second try.
            with suppress(BrokenProcessPool):
                done(futures[future], future.result())
        return True
    finally:
        pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not wait for the whole queue


def _retry_alone(
    task: Callable[[Any], _Inspected],
    items: Sequence[Any],
    unfinished: Sequence[int],
    done: Callable[[int, _Inspected], None],
) -> None:
    """One item at a time in a single process, a fresh one after each death, so that the culprit is certain."""
    pool: ProcessPoolExecutor | None = None
    try:
        for index in unfinished:
            pool = pool or _pool(1)
            try:
                done(index, pool.submit(task, items[index]).result())
            except BrokenProcessPool:
                done(index, _Inspected(reason="ended the process that read it"))
                pool.shutdown()
                pool = None
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
