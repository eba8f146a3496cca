"""Token ids on disk: one memory-mapped build per corpus and tokenizer.

A build is a folder: `ids.bin` (all pieces' base ids, one after another), `groups.bin` (their onset groups, see
tokens/tokenizer.py), `pieces.parquet` (where each piece lies), `build.json` (format, refused pieces) and
`tokenizer.json`. It grows under a hidden name with a journal beside it, piece by piece in the order of the ids, and
is renamed when whole; so an interrupted build goes on where it stopped and ends with the same bytes. Pieces that an
earlier build of the same corpus holds are copied from there.
"""

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from midifactory import files
from midifactory.errors import UserError
from midifactory.music.score import Limits
from midifactory.tokens.engines import GROUP_DTYPE, EncodedFile, Preparation, encode_files, id_dtype
from midifactory.tokens.grid import read_tokenizer
from midifactory.tokens.tokenizer import Tokenizer

FORMAT = 2  # raise it when the meaning of the bytes changes: old builds are then made anew
_JOURNAL = "journal.jsonl"
# How much an interruption by power loss or kill -9 may cost.
_PIECES_PER_SYNC = 256


@dataclass(frozen=True)
class StoredPiece:
    """Where one piece lies: `first`/`tokens` in ids, `first_group`/`groups` in groups; its notes in the file.

    sha256 is the source file's; bars and seconds reach to the last onset.
    """

    id: str
    first: int
    tokens: int
    first_group: int
    groups: int
    source_notes: int
    notes: int
    bars: int
    seconds: float
    sha256: str


class _Pieces(Mapping[str, StoredPiece]):
    """Rows of pieces.parquet as StoredPieces, made when asked for: a few bytes a piece instead of an object."""

    def __init__(self, table: pa.Table):
        self._table = table
        self._row = {piece_id: row for row, piece_id in enumerate(table.column("id").to_pylist())}

    def __getitem__(self, piece_id: str) -> StoredPiece:
        row = self._row[piece_id]
        return StoredPiece(**{name: self._table.column(name)[row].as_py() for name in self._table.column_names})

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, piece_id: object) -> bool:
        return piece_id in self._row


class TokenStore:
    """A finished build, opened without reading it: ids and groups are memory maps, shared by all processes."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        build = json.loads((self.folder / "build.json").read_text(encoding="utf-8"))
        self.refused: dict[str, str] = build["refused"]
        self.pieces: Mapping[str, StoredPiece] = _Pieces(pq.read_table(self.folder / "pieces.parquet"))
        self.tokenizer = read_tokenizer((self.folder / "tokenizer.json").read_text(encoding="utf-8"))
        self.all_ids = np.memmap(self.folder / "ids.bin", dtype=np.dtype(build["dtype"]), mode="r")
        self._groups = np.memmap(self.folder / "groups.bin", dtype=GROUP_DTYPE, mode="r")

    def ids(self, piece_id: str) -> np.ndarray:
        """The base ids of a piece, (N,), a view of the map: BOS first, EOS last."""
        piece = self.pieces[piece_id]
        return self.all_ids[piece.first : piece.first + piece.tokens]

    def groups(self, piece_id: str) -> np.ndarray:
        """The onset groups of a piece, (G,) of GROUP_DTYPE; `token` counts from the piece's first id."""
        piece = self.pieces[piece_id]
        return self._groups[piece.first_group : piece.first_group + piece.groups]


def build_store(
    pieces: Iterable[tuple[str, Path]],
    tokenizer: Tokenizer,
    root: str | os.PathLike[str],
    name: str,
    preparation: Preparation | None = None,
    limits: Limits | None = None,
    hashes: Mapping[str, str] | None = None,
    progress: bool = True,
) -> TokenStore:
    """Encode `pieces` (id, MIDI path) once and open the result; an existing build is only opened.

    The folder `root/name-<hash>` is named by the files' bytes, the tokenizer and the format, so a changed file or
    setting is a new build. hashes: SHA-256 of the files by id, where they are known already. A piece that the
    tokenizer refuses is recorded in `refused` with the reason. Two processes that ask for the same build wait for
    each other. Raises UserError when no piece is left.
    """
    ordered = sorted(pieces)
    known = hashes or {}
    sums = [known.get(piece_id) or hashlib.sha256(path.read_bytes()).hexdigest() for piece_id, path in ordered]
    limits = limits or Limits()
    # With the limits, so that a piece refused for one gets another chance when the limit is raised.
    digest = hashlib.sha256(f"{FORMAT} {tokenizer.base_fingerprint} {limits}".encode())
    for (piece_id, _), file_hash in zip(ordered, sums, strict=True):
        digest.update(f"{piece_id}\0{file_hash}\0".encode())
    folder = Path(root) / f"{name}-{digest.hexdigest()[:12]}"
    if not (folder / "build.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        growing = folder.with_name(f".{folder.name}.partial")
        # The lock's file stays: without it, whoever waits and whoever comes later would hold different locks.
        with FileLock(growing.with_suffix(".lock")):
            if not (folder / "build.json").is_file():  # else another process was faster
                earlier = _earlier_builds(folder, name, tokenizer)
                _grow(growing, ordered, sums, earlier, tokenizer, preparation or Preparation(), limits, progress)
                growing.replace(folder)
                files.sync_directory(folder.parent)
        (folder / _JOURNAL).unlink(missing_ok=True)
    return TokenStore(folder)


def _grow(
    folder: Path,
    ordered: list[tuple[str, Path]],
    sums: list[str],
    earlier: Mapping[str, tuple[TokenStore, str]],
    tokenizer: Tokenizer,
    preparation: Preparation,
    limits: Limits,
    progress: bool,
) -> None:
    """Bring the build in `folder` to its end: append what is not yet in it, in the order of the ids."""
    folder.mkdir(exist_ok=True)
    with _Growing(folder, id_dtype(tokenizer)) as build:
        left = list(zip(ordered, sums, strict=True))[build.done :]
        most = limits.max_tokens
        earlier = {key: (store, old) for key, (store, old) in earlier.items() if store.pieces[old].tokens <= most}
        todo = [path for (_, path), file_hash in left if file_hash not in earlier]
        results = encode_files(todo, tokenizer, preparation, limits, progress and bool(todo))
        for (piece_id, _), file_hash in left:
            if file_hash in earlier:
                store, old_id = earlier[file_hash]
                old = store.pieces[old_id]
                copy = EncodedFile(store.ids(old_id), store.groups(old_id), old.source_notes, old.notes)
                build.append(piece_id, file_hash, copy)
            else:
                build.append(piece_id, file_hash, next(results))
        if build.rows:
            build.finish(tokenizer)
            return
    shutil.rmtree(folder)
    reason = next(iter(build.refused.values()), "there are no pieces")
    raise UserError(f"none of {len(ordered)} pieces could be tokenised (first reason: {reason}); add other files")


class _Growing:
    """A build in the making: appended to, synced now and then, continued after an interruption."""

    def __init__(self, folder: Path, dtype: np.dtype):
        self.folder, self.dtype = folder, dtype
        self.rows: list[StoredPiece] = []
        self.refused: dict[str, str] = {}
        self._pending: list[dict[str, Any]] = []
        self._read_journal()
        self._ids = self._open("ids.bin", self._end("first", "tokens") * dtype.itemsize)
        self._groups = self._open("groups.bin", self._end("first_group", "groups") * GROUP_DTYPE.itemsize)
        self._journal = self._open(_JOURNAL, self._journal_bytes)

    @property
    def done(self) -> int:
        """Pieces that are in, refused ones included."""
        return len(self.rows) + len(self.refused)

    def _end(self, first: str, count: str) -> int:
        return getattr(self.rows[-1], first) + getattr(self.rows[-1], count) if self.rows else 0

    def _read_journal(self) -> None:
        """Take over every whole line; one that a kill cut short is written anew."""
        self._journal_bytes = 0
        path = self.folder / _JOURNAL
        for line in path.read_bytes().splitlines(keepends=True) if path.is_file() else []:
            try:
                row = json.loads(line)
            except ValueError:
                return
            if not line.endswith(b"\n"):
                return
            self._journal_bytes += len(line)
            if "reason" in row:
                self.refused[row["id"]] = row["reason"]
            else:
                self.rows.append(StoredPiece(**row))

    def _open(self, name: str, size: int) -> BinaryIO:
        """The file, ready to append after its first `size` bytes: what follows was never recorded as done."""
        path = self.folder / name
        path.touch()
        os.truncate(path, size)
        return path.open("ab")

    def append(self, piece_id: str, sha256: str, result: EncodedFile | str) -> None:
        """Add one piece, or the reason why it is left out."""
        if isinstance(result, str):
            self.refused[piece_id] = result
            self._pending.append({"id": piece_id, "reason": result})
        else:
            self._ids.write(np.ascontiguousarray(result.ids, self.dtype).data)
            self._groups.write(np.ascontiguousarray(result.groups).tobytes())
            row = StoredPiece(
                id=piece_id,
                first=self._end("first", "tokens"),
                tokens=len(result.ids),
                first_group=self._end("first_group", "groups"),
                groups=len(result.groups),
                source_notes=result.source_notes,
                notes=result.notes,
                bars=int(result.groups["bar"].max()) + 1,
                seconds=float(result.groups["seconds"].max()),
                sha256=sha256,
            )
            self.rows.append(row)
            self._pending.append(asdict(row))
        if len(self._pending) >= _PIECES_PER_SYNC:
            self.sync()

    def sync(self) -> None:
        """First the data, then the journal that says they are there."""
        # Taken first: an interruption in here must not write a line twice, only lose it.
        pending, self._pending = self._pending, []
        for file in (self._ids, self._groups):
            file.flush()
            os.fsync(file.fileno())
        self._journal.write("".join(json.dumps(row) + "\n" for row in pending).encode())
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def finish(self, tokenizer: Tokenizer) -> None:
        """Write the index, by which the build counts as whole."""
        self.sync()
        columns = {field.name: [getattr(row, field.name) for row in self.rows] for field in fields(StoredPiece)}
        with files.replacing(self.folder / "pieces.parquet") as path:
            pq.write_table(pa.table(columns), path)
        files.write_text(self.folder / "tokenizer.json", tokenizer.to_json(with_bpe=False))
        build = {
            "format": FORMAT,
            "dtype": self.dtype.str,
            "tokenizer": tokenizer.base_fingerprint,
            "refused": self.refused,
        }
        files.write_text(self.folder / "build.json", json.dumps(build, ensure_ascii=False, indent=1))

    def __enter__(self) -> "_Growing":
        return self

    def __exit__(self, *_: object) -> None:
        if (self.folder / _JOURNAL).is_file():
            self.sync()  # also on Ctrl-C: what was encoded is kept
        for file in (self._ids, self._groups, self._journal):
            file.close()


def _earlier_builds(folder: Path, name: str, tokenizer: Tokenizer) -> dict[str, tuple[TokenStore, str]]:
    """By file hash, where an earlier build of the corpus has the same tokens already; the newest build wins."""
    found: dict[str, tuple[TokenStore, str]] = {}
    pattern = f"{glob.escape(name)}-{'[0-9a-f]' * 12}/build.json"
    builds = sorted(folder.parent.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
    for path in builds:
        build = json.loads(path.read_text(encoding="utf-8"))
        if (build.get("format"), build.get("tokenizer")) == (FORMAT, tokenizer.base_fingerprint):
            store = TokenStore(path.parent)
            sums = store.pieces._table.column("sha256").to_pylist()  # type: ignore[attr-defined]
            found |= {file_hash: (store, piece) for file_hash, piece in zip(sums, store.pieces, strict=True)}
    return found
