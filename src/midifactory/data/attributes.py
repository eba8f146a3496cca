"""What each segment is like: measured on the notes of its own tokens, once, and kept beside them.

Legend: S segments, C conditions.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from midifactory import files
from midifactory.data.conditions import ConditionCodec
from midifactory.data.segments import SegmentTable
from midifactory.music import attributes
from midifactory.music.attributes import attributes_of
from midifactory.music.workers import Failure, run_guarded
from midifactory.tokens.augment import Augmenter, Moved
from midifactory.tokens.store import TokenStore

FORMAT = 1  # raise it when a measure changes: all are then measured anew
# As many pieces are done in this process before workers, which load MidiTok, have started.
_FEW_PIECES = 256
_IN_FORCE = ("Tempo", "TimeSig")  # said once in a piece, they hold in later segments, too

Columns = Mapping[str, Sequence[Any]]  # by the name of an attribute, (S,)


def measure_segments(
    store: TokenStore, segments: SegmentTable, workers: int | None = None, progress: bool = True
) -> dict[str, list[Any]]:
    """The attributes of each segment (music/attributes.py) by name, (S,) each; None where it has none.

    They are of the base ids as the store has them, decoded, under the tempo and the metre that hold where the segment
    begins. Equal segments of a store are measured once: the result is kept in the store's folder.
    """
    digest = hashlib.sha256(f"{FORMAT} {chr(0).join(segments.pieces)}".encode())
    for column in (segments.piece, segments.start, segments.end):
        digest.update(column.tobytes())
    path = store.folder / f"attributes-{digest.hexdigest()[:12]}.parquet"
    with FileLock(store.folder / "attributes.lock"):  # several processes of a training: one measures
        if not path.is_file():
            table = pa.table(_measured(store, segments, workers, progress), schema=_SCHEMA)
            with files.replacing(path) as temporary:
                pq.write_table(table, temporary)
    return pq.read_table(path, schema=_SCHEMA).to_pydict()


_SCHEMA = pa.schema([(name, pa.float64() if name in attributes.UNITS else pa.string()) for name in attributes.NAMES])


def _measured(store: TokenStore, segments: SegmentTable, workers: int | None, progress: bool) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [None] * len(segments) for name in attributes.NAMES}
    order = np.argsort(segments.piece, kind="stable")
    places = np.split(order, np.flatnonzero(np.diff(segments.piece[order])) + 1) if len(order) else []
    tasks = [(segments.pieces[segments.piece[at[0]]], segments.start[at], segments.end[at]) for at in places]
    results = run_guarded(
        _measure_piece,
        tasks,
        workers=workers,
        seconds=None,
        megabytes=None,
        initializer=_open_store,
        initargs=(store.folder,),
        label="measure",
        progress=progress,
        few=_FEW_PIECES,
    )
    for at, found in zip(places, results, strict=True):
        if isinstance(found, Failure):  # strange tokens are told nothing
            continue
        for index, values in zip(at, found, strict=True):
            for name, value in values.items():
                columns[name][index] = value
    return columns


_store: TokenStore | None = None  # one per worker process


def _open_store(folder: Path) -> None:
    global _store  # noqa: PLW0603 - the pool offers no other place for per-process state
    _store = TokenStore(folder)


def _measure_piece(task: tuple[str, np.ndarray, np.ndarray]) -> list[dict[str, Any]]:
    assert _store is not None
    piece, starts, ends = task
    ids = np.asarray(_store.ids(piece))
    return [segment_attributes(_store.tokenizer, ids, int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def segment_attributes(tokenizer: Any, ids: np.ndarray, start: int, end: int) -> dict[str, Any]:
    """The attributes of ids[start:end] of a piece's base ids (N,); `tokenizer` has merged none."""
    types = np.asarray(tokenizer.types)[ids[:start]]
    before = [np.flatnonzero(types == type_)[-1:] for type_ in _IN_FORCE]
    return attributes_of(tokenizer.decode([*ids[np.concatenate(before)], *ids[start:end]]))


class SegmentConditions:
    """Ids of the conditions of each segment: labels of its piece, attributes of its own notes.

    measured: attributes by name, (S,) each; those that the codec does not know are not needed. augmenter: what
    changes the segments, whose attributes then change with them.
    """

    def __init__(
        self,
        codec: ConditionCodec,
        segments: SegmentTable,
        labels: Mapping[str, Mapping[str, Any]],
        measured: Columns,
        augmenter: Augmenter | None = None,
    ):
        self._codec, self._augmenter = codec, augmenter
        self._measured = {name: measured[name] for name in codec.names if name in measured}
        pieces = [labels[piece] for piece in segments.pieces]
        self.ids = np.zeros((len(segments), len(codec.fields)), dtype=np.int64)  # (S, C)
        for column, field in enumerate(codec.fields):
            if field.name in self._measured:
                self.ids[:, column] = [field.encode(value) for value in self._measured[field.name]]
            else:
                of_pieces = np.array([field.encode(values.get(field.name)) for values in pieces], dtype=np.int64)
                self.ids[:, column] = of_pieces[segments.piece]

    def of(self, index: int, moved: Moved | None = None) -> np.ndarray:
        """(C,) of a segment, or of what it has become by augmentation."""
        if moved is None or not self._measured:
            return self.ids[index]
        ids = self.ids[index].copy()
        values = {name: column[index] for name, column in self._measured.items()}
        changed = attributes.transposed(values, moved.semitones) if moved.semitones else {}
        if self._augmenter is not None and moved.log_tempo and values.get("tempo_bpm") is not None:
            changed["tempo_bpm"] = self._augmenter.tempo_bpm(values["tempo_bpm"], moved.log_tempo)
        for column, field in enumerate(self._codec.fields):
            if field.name in changed:
                ids[column] = field.encode(changed[field.name])
        return ids
