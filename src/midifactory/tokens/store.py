"""Token ids on disk: one memory-mapped build per corpus and tokenizer.

A build is a folder of four files, written beside its place and renamed whole: `ids.bin` (all pieces, one after
another), `groups.npy` (their onset groups, see tokens/tokenizer.py), `pieces.json` (where each piece lies) and
`tokenizer.json`. An interrupted build leaves nothing behind that a later one would read.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from midifactory import files
from midifactory.errors import UserError
from midifactory.music.score import load_score
from midifactory.tokens.tokenizer import Encoding, Tokenizer

FORMAT = 1  # raise it when the meaning of the bytes changes: old builds are then made anew
# Packed: numpy leaves the gaps of an aligned dtype unset, and equal builds would differ in their bytes.
GROUP_DTYPE = np.dtype([("token", "<i8"), ("seconds", "<f8"), ("bar", "<i4"), ("notes", "<i4"), ("opens_bar", "?")])
# Starting workers costs two seconds; below this many pieces one process is done sooner.
_PIECES_WORTH_WORKERS = 48


@dataclass(frozen=True)
class StoredPiece:
    """Where one piece lies: `first`/`tokens` in ids, `first_group`/`groups` in groups; its notes in the file."""

    id: str
    first: int
    tokens: int
    first_group: int
    groups: int
    source_notes: int
    notes: int
    bars: int
    seconds: float


class TokenStore:
    """A finished build, opened without reading it: ids and groups are memory maps."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        index = json.loads((self.folder / "pieces.json").read_text(encoding="utf-8"))
        self.pieces = {row["id"]: StoredPiece(**row) for row in index["pieces"]}
        self.refused: dict[str, str] = index["refused"]
        self.tokenizer = Tokenizer.from_json((self.folder / "tokenizer.json").read_text(encoding="utf-8"))
        self._ids = np.memmap(self.folder / "ids.bin", dtype=np.dtype(index["dtype"]), mode="r")
        self._groups = np.load(self.folder / "groups.npy", mmap_mode="r")

    def ids(self, piece_id: str) -> np.ndarray:
        """The ids of a piece, (N,), a view of the map: BOS first, EOS last."""
        piece = self.pieces[piece_id]
        return self._ids[piece.first : piece.first + piece.tokens]

    def groups(self, piece_id: str) -> np.ndarray:
        """The onset groups of a piece, (G,) of GROUP_DTYPE; `token` counts from the piece's first id."""
        piece = self.pieces[piece_id]
        return self._groups[piece.first_group : piece.first_group + piece.groups]


def build_store(
    pieces: Iterable[tuple[str, Path]],
    tokenizer: Tokenizer,
    root: str | os.PathLike[str],
    name: str,
    workers: int | None = None,
    progress: bool = True,
) -> TokenStore:
    """Encode `pieces` (id, MIDI path) once and open the result; an existing build is only opened.

    The folder `root/name-<hash>` is named by the files' bytes, the tokenizer and the format, so a changed file or
    setting is a new build. A piece that the tokenizer refuses is recorded in `refused` with the reason. Raises
    UserError when none is left.
    """
    ordered = sorted(pieces)
    folder = Path(root) / f"{name}-{_fingerprint(ordered, tokenizer)}"
    if not (folder / "pieces.json").is_file():
        temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        temporary.mkdir(parents=True)
        try:
            _write_build(ordered, tokenizer, temporary, workers, progress)
            if folder.exists():  # another process was faster, or a folder without its index lies there
                shutil.rmtree(folder)
            temporary.replace(folder)
            files.sync_directory(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return TokenStore(folder)


def _fingerprint(pieces: list[tuple[str, Path]], tokenizer: Tokenizer) -> str:
    digest = hashlib.sha256(f"{FORMAT} {tokenizer.fingerprint}".encode())
    for piece_id, path in pieces:
        digest.update(piece_id.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _write_build(
    pieces: list[tuple[str, Path]], tokenizer: Tokenizer, folder: Path, workers: int | None, progress: bool
) -> None:
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)
    rows: list[StoredPiece] = []
    refused: dict[str, str] = {}
    groups: list[np.ndarray] = []
    first = first_group = 0
    with (folder / "ids.bin").open("wb") as ids_file:
        results = _encode_all([path for _, path in pieces], tokenizer, workers)
        bar = tqdm(results, total=len(pieces), desc="tokenise", unit="file", disable=not progress)
        for (piece_id, _), result in zip(pieces, bar, strict=True):
            if isinstance(result, str):
                refused[piece_id] = result
                continue
            encoding, source_notes = result
            ids_file.write(encoding.ids.astype(dtype).tobytes())
            table = np.zeros(len(encoding.group_token), GROUP_DTYPE)
            table["token"], table["seconds"] = encoding.group_token, encoding.group_seconds
            table["bar"], table["notes"] = encoding.group_bar, encoding.group_notes
            table["opens_bar"] = encoding.group_opens_bar
            groups.append(table)
            rows.append(
                StoredPiece(
                    id=piece_id,
                    first=first,
                    tokens=len(encoding.ids),
                    first_group=first_group,
                    groups=len(table),
                    source_notes=source_notes,
                    notes=encoding.notes,
                    bars=int(encoding.group_bar[-1]) + 1,
                    seconds=float(encoding.group_seconds[-1]),
                )
            )
            first += len(encoding.ids)
            first_group += len(table)
        os.fsync(ids_file.fileno())
    if not rows:
        reason = next(iter(refused.values()), "there are no pieces")
        raise UserError(f"none of {len(pieces)} pieces could be tokenised (first reason: {reason}); add other files")
    with (folder / "groups.npy").open("wb") as file:
        np.save(file, np.concatenate(groups))
        os.fsync(file.fileno())
    files.write_text(folder / "tokenizer.json", tokenizer.to_json())
    index = {"format": FORMAT, "dtype": dtype.str, "pieces": [asdict(row) for row in rows], "refused": refused}
    files.write_text(folder / "pieces.json", json.dumps(index, ensure_ascii=False, indent=1))


_worker_tokenizer: Tokenizer | None = None  # one per worker process, made by the pool's initialiser


def _start_worker(tokenizer_json: str) -> None:
    global _worker_tokenizer  # noqa: PLW0603 - the pool offers no other place for per-process state
    _worker_tokenizer = Tokenizer.from_json(tokenizer_json)


def _encode_in_worker(path: Path) -> tuple[Encoding, int] | str:
    assert _worker_tokenizer is not None
    return _encode_file(path, _worker_tokenizer)


def _encode_file(path: Path, tokenizer: Tokenizer) -> tuple[Encoding, int] | str:
    """The encoding and the notes of the source file, or the reason why there is none."""
    try:
        score = load_score(path)
        return tokenizer.encode(score), score.note_num()
    except Exception as error:  # MidiTok raises KeyError, IndexError and others on strange but valid files
        return f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else str(error)


def _encode_all(paths: list[Path], tokenizer: Tokenizer, workers: int | None) -> Iterable[tuple[Encoding, int] | str]:
    count = min(workers if workers is not None else os.cpu_count() or 1, len(paths))
    if count <= 1 or (workers is None and len(paths) < _PIECES_WORTH_WORKERS):
        encode: Callable[[Path], tuple[Encoding, int] | str] = lambda path: _encode_file(path, tokenizer)  # noqa: E731
        yield from map(encode, paths)
        return
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(tokenizer.to_json(),)
    ) as pool:
        yield from pool.map(_encode_in_worker, paths, chunksize=4)
