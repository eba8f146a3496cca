"""The index of a corpus' training pieces beside its token store, see music/originality.py."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from filelock import FileLock
from symusic import Score
from tqdm import tqdm

from midifactory.errors import UserError
from midifactory.music.originality import FORMAT, Originality, OriginalityIndex, build_index
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


class Checkpoint(Protocol):
    """What is to be known of training.checkpoint.Trained."""

    path: Path
    originality: tuple[str, ...]


def require_originality(trained: Checkpoint) -> Originality:
    """What `trained` was trained on, to be compared with. Raises UserError where its index is not to be found."""
    if not trained.originality:
        raise UserError(
            f"checkpoint={trained.path} names no index of its training pieces; train with data.originality=true"
        )
    return Originality([_open(trained.path, recorded) for recorded in trained.originality])


def _open(checkpoint: Path, recorded: str) -> OriginalityIndex:
    """The index at a recorded path: in the checkpoint, from here, or from any folder above it, where it is relative."""
    reason = "it is not there"
    for above in (checkpoint, Path(), *checkpoint.resolve().parents):
        folder = above / recorded
        if folder.is_dir():
            try:
                return OriginalityIndex(folder)
            except (OSError, ValueError, KeyError) as error:
                reason = str(error)
    raise UserError(
        f"checkpoint={checkpoint}: the index of its training pieces, {recorded}, cannot be read ({reason}); run "
        "midifactory prepare here with the data of its training"
    )
