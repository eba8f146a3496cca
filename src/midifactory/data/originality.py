"""The index of a corpus' training pieces beside its token store, see music/originality.py."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock
from symusic import Score
from tqdm import tqdm

from midifactory.music.originality import FORMAT, build_index
from midifactory.tokens.store import TokenStore


def index_folder(store: TokenStore, training: Sequence[str]) -> Path:
    """Where the index of these pieces of the store lies, or would: each split has its own."""
    digest = hashlib.sha256("\0".join([str(FORMAT), *training]).encode()).hexdigest()
    return store.folder / f"originality-{digest[:12]}"


def index_training(store: TokenStore, training: Sequence[str], progress: bool = True) -> Path:
    """Build the index of these pieces, decoded from their tokens, as a model sees them; one that is there stays.

    Two processes that ask for the same index wait for each other.
    """
    folder = index_folder(store, training)
    if not folder.is_dir():
        with FileLock(store.folder / ".originality.lock"):
            if not folder.is_dir():  # else another process was faster
                build_index(folder, _decoded(store, training, progress))
    return folder


def _decoded(store: TokenStore, training: Sequence[str], progress: bool) -> Iterator[tuple[str, Score]]:
    for piece in tqdm(training, desc="index", unit="piece", disable=not progress):
        yield piece, store.tokenizer.decode(store.ids(piece))
