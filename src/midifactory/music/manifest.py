"""One row for every file of a collection, kept or not, as a table that pandas, DuckDB or Excel's Parquet readers open.

Columns: id, path, sha256 (of the file's bytes), content_hash (of the music), seconds, notes, tempo_bpm and metre (at
the start), key (an estimate), programs (sorted, -1 for drums), polyphony (mean number of notes that sound together
while any does), bars, split, group (pieces of one group share a split), labels (JSON), outcome (kept, duplicate,
near_duplicate or rejected), duplicate_of (an id), reason_kind and reason. What does not apply is null.
"""

import json
import os
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from midifactory import files
from midifactory.music.scan import Scanned

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "path", "sha256", "content_hash")]
    + [("seconds", pa.float64()), ("notes", pa.int64()), ("tempo_bpm", pa.float64())]
    + [("metre", pa.string()), ("key", pa.string()), ("programs", pa.list_(pa.int16()))]
    + [("polyphony", pa.float64()), ("bars", pa.int64())]
    + [(name, pa.string()) for name in ("split", "group", "labels", "outcome", "duplicate_of", "reason_kind", "reason")]
)


def columns_of(found: Scanned) -> dict[str, Any]:
    """The columns that reading a file gives; the others say what became of it."""
    if found.kind:
        return {"sha256": found.sha256 or None, "reason_kind": found.kind, "reason": found.reason}
    return {
        "sha256": found.sha256,
        "content_hash": found.digest,
        "seconds": found.seconds,
        "notes": found.notes,
        "tempo_bpm": found.tempo_bpm,
        "metre": found.metre,
        "key": found.key,
        "programs": list(found.programs),
        "polyphony": found.polyphony,
        "bars": found.bars,
    }


def manifest_table(rows: list[dict[str, Any]]) -> pa.Table:
    """A table of SCHEMA; `labels` are given as a dict, and columns that a row lacks are null."""
    written = [row | {"labels": json.dumps(row.get("labels") or {}, ensure_ascii=False)} for row in rows]
    return pa.Table.from_pylist(written, SCHEMA)


def write_manifest(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write a table as Parquet, whole or not at all."""
    with files.replacing(path) as temporary:
        pq.write_table(table, temporary)
