"""Reading a whole collection: what every file holds or why it cannot be used, read once and remembered.

Files are read in worker processes with limits, so that no file costs more than itself, and the results lie in a
Parquet file, so that ten new files among ten thousand cost ten.
"""

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from symusic import Note, Score, Track

from midifactory import files
from midifactory.errors import UserError
from midifactory.music.archives import home_path
from midifactory.music.duplicates import content_hash, near_signature, plain_digest
from midifactory.music.score import Limits, UnreadableMidi, note_arrays, parse_score, read_midi
from midifactory.music.statistics import key_estimate, piece_statistics
from midifactory.music.workers import Failure, run_guarded

MIDI_SUFFIXES = (".mid", ".midi", ".kar")
# Raise it whenever a file would be described differently, so that older caches are read anew.
SCAN_FORMAT = 2
# These may come from a busy computer or a mount that was away, so they are tried again by every scan.
PASSING = {"timed_out", "out_of_memory", "killed", "error", "cannot_open", "not_a_file"}
_SAVE_SECONDS = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scanned:
    """What one file holds; `kind` is empty for a usable one, else the type of the `reason` it cannot be used for.

    Kinds are those of midifactory.music.score.load_score and midifactory.music.workers.Failure. `digest` is
    content_hash, `signature` the bytes of near_signature, `plain` plain_digest in its place. `programs` are sorted, -1
    for drums. `polyphony` is the mean number of notes that sound together while any does, `tempo_bpm` and `metre` are
    those at the start.
    """

    kind: str = ""
    reason: str = ""
    sha256: str = ""
    digest: str = ""
    signature: bytes = b""
    plain: str = ""
    seconds: float = 0.0
    notes: int = 0
    tempo_bpm: float = 0.0
    metre: str = ""
    key: str = ""
    programs: tuple[int, ...] = ()
    polyphony: float = 0.0
    bars: int = 0


def midi_files(root: Path) -> list[tuple[str, Path]]:
    """(id, path) of the MIDI files below `root`, sorted by id, the path relative to `root`.

    Linked files count; linked folders, which may form loops, are left out.
    """

    def unreadable(error: OSError) -> None:
        log.warning("%s is left out: %s", printable(str(error.filename)), error.strerror)

    found = []
    for folder, _, names in os.walk(root, onerror=unreadable):
        for name in names:
            if name.lower().endswith(MIDI_SUFFIXES):
                path = Path(folder, name)
                found.append((file_id(path.relative_to(root)), path))
    return sorted(found)


def describe(score: Score, data: bytes, any_key: bool = False) -> Scanned:
    """What a usable score, read from `data`, holds; `any_key` is for content_hash."""
    signature = near_signature(score)
    statistics = piece_statistics(score)
    metre = min(score.time_signatures, key=lambda item: item.time, default=None)
    return Scanned(
        sha256=hashlib.sha256(data).hexdigest(),
        digest=content_hash(score, any_key),
        signature=b"" if signature is None else signature.astype("<u4").tobytes(),
        plain=plain_digest(score) if signature is None else "",
        seconds=statistics["duration_seconds"],
        notes=int(statistics["notes"]),
        tempo_bpm=statistics["tempo_bpm"],
        metre=f"{metre.numerator}/{metre.denominator}" if metre else "4/4",
        key=key_estimate(score),
        programs=tuple(np.unique(note_arrays(score)["program"]).tolist()),
        polyphony=statistics["polyphony_mean"],
        bars=int(statistics["bars"]),
    )


def scan_file(path: Path, limits: Limits) -> Scanned:
    """Read one file in this process."""
    data = b""
    try:
        data = read_midi(path, limits)
        with np.errstate(all="ignore"):  # odd files divide by zero; their statistics are nan
            return describe(parse_score(data, limits), data)
    except UnreadableMidi as error:
        return Scanned(kind=error.kind, reason=str(error), sha256=hashlib.sha256(data).hexdigest() if data else "")


def warm_up() -> None:
    """Read a scale, as the libraries prepare themselves for half a second, which the first file shall not pay for."""
    scale = Score(1)
    scale.tracks.append(Track())
    scale.tracks[0].notes.extend([Note(beat, 1, 60 + beat**2 % 17, 64) for beat in range(20)])
    data = scale.dumps_midi()
    describe(parse_score(data), data)


def scan_files(
    name: str,
    paths: Sequence[Path],
    *,
    limits: Limits,
    workers: int | None = None,
    cache_root: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> list[Scanned]:
    """What each of `paths` holds, in their order; no file can end this process or take it longer than the limits.

    Files that `cache_root/name.parquet` knows with the same size and time of change are not read again; what an
    interrupted scan has read is kept there. `workers` is as for run_guarded: with 0 no limit of time or memory holds.
    Raises UserError when `cache_root` cannot be written.
    """
    cache = _Cache(cache_root, name, limits)
    stamps = [_stamp(path) for path in paths]
    results = [cache.find(path, stamp) for path, stamp in zip(paths, stamps, strict=True)]
    todo = [place for place, result in enumerate(results) if result is None]
    if todo:
        if len(todo) < len(paths):
            log.info("%s: %d of %d files were read before", name, len(paths) - len(todo), len(paths))
        read = run_guarded(
            partial(scan_file, limits=limits),
            [paths[place] for place in todo],
            workers=workers,
            seconds=limits.seconds_per_file,
            megabytes=limits.memory_megabytes,
            initializer=warm_up,
            label="reading MIDI",
            progress=progress,
        )
        try:
            for place, found in zip(todo, read, strict=True):
                result = Scanned(found.kind, found.reason) if isinstance(found, Failure) else found
                results[place] = result
                cache.add(paths[place], stamps[place], result)
        finally:
            cache.save()
    return [result for result in results if result is not None]


def _stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds; -1 for what cannot be asked."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return -1, -1
    return status.st_size, status.st_mtime_ns


# Control characters command a terminal, the others turn or break its lines; surrogates stand for what is not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """A file name with what is not UTF-8 and what commands a terminal escaped: \\xHH for bytes, \\uHHHH above 7F."""
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # Python's surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def file_id(relative: PurePath) -> str:
    """A printable id that no other path has: backslashes are doubled, so that an escape is never a name."""
    return printable(relative.as_posix().replace("\\", "\\\\"))


class _Cache:
    """Results by absolute path, in one Parquet file; without a folder it remembers nothing."""

    def __init__(self, root: str | os.PathLike[str] | None, name: str, limits: Limits):
        self.file = home_path(root, "data.cache_root") / (re.sub(r"[^\w.-]", "_", name) + ".parquet") if root else None
        # Results hold for the limits that decide about a file alone, not for the token store's.
        self.stamp = {"format": SCAN_FORMAT, **asdict(limits)}
        del self.stamp["max_tokens"]
        self.rows: dict[str, dict[str, Any]] = self._read()
        self.seen: set[str] = set()
        self.added = False
        self.next_save = time.monotonic() + _SAVE_SECONDS

    def find(self, path: Path, stamp: tuple[int, int]) -> Scanned | None:
        """What is known of a file of this size and time of change (ns)."""
        key = _key(path)
        self.seen.add(key)
        row = self.rows.get(key)
        if row is None or (row["size"], row["mtime_ns"]) != stamp:
            return None
        values = {field.name: row[field.name] for field in fields(Scanned)}
        return Scanned(**(values | {"programs": tuple(values["programs"])}))

    def add(self, path: Path, stamp: tuple[int, int], result: Scanned) -> None:
        """Remember a result, unless it may be the machine's fault; now and then save them all."""
        if self.file is None or result.kind in PASSING:
            return
        self.rows[_key(path)] = {"path": _key(path), "size": stamp[0], "mtime_ns": stamp[1], **asdict(result)}
        self.added = True
        if time.monotonic() > self.next_save:
            start = time.monotonic()
            self.save()
            # A large table takes longer to write: spend no more than a twentieth of the time on it.
            self.next_save = time.monotonic() + max(_SAVE_SECONDS, 20 * (time.monotonic() - start))

    def save(self) -> None:
        """Write the table, whole or not at all, where anything is new."""
        if self.file is None or not self.added:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [row for key, row in self.rows.items() if key in self.seen or Path(key).exists()]
        table = pa.Table.from_pylist(rows, self._schema())
        try:
            with files.replacing(self.file) as temporary:
                pq.write_table(table, temporary)
        except OSError as error:
            raise UserError(
                f"data.cache_root={self.file.parent} cannot be written ({error.strerror or error}); "
                "name another folder, or null to read every file each time"
            ) from error
        self.added = False

    def _schema(self) -> Any:
        import pyarrow as pa

        types: dict[Any, Any] = {str: pa.string(), bytes: pa.binary(), float: pa.float64(), int: pa.int64()}
        columns = [("path", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64())]
        columns += [(field.name, types.get(field.type, pa.list_(pa.int16()))) for field in fields(Scanned)]
        return pa.schema(columns, metadata={"midifactory.scan": json.dumps(self.stamp)})

    def _read(self) -> dict[str, dict[str, Any]]:
        if self.file is None or not self.file.is_file():
            return {}
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(self.file)
        except (OSError, pa.ArrowException) as error:
            log.warning("%s cannot be read (%s); the files are read anew", self.file, error)
            return {}
        schema = self._schema()
        stamp = b"midifactory.scan"
        if not table.schema.equals(schema) or (table.schema.metadata or {}).get(stamp) != schema.metadata[stamp]:
            return {}  # of another version or with other limits
        return {row["path"]: row for row in table.to_pylist()}


def _key(path: Path) -> str:
    return printable(os.path.abspath(path))
