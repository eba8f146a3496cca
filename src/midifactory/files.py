"""Writing files so that a reader never meets half of one."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREVIOUS = ".previous"
_PARTIAL = ".partial"  # ends the names of folders that are being written or removed


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it over `path`.

    On any exception, Ctrl-C included, the temporary file is removed and `path` is as it was. The
    temporary keeps the suffix, since writers such as matplotlib choose the format by it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem[:40]}.{uuid.uuid4().hex[:8]}{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder beside `path`; on success fsync its files and itself and rename it to `path`.

    No rename puts a folder in the place of another, so the old one steps aside as `previous_of(path)` and is removed
    once the new one is in place: at any moment one of the two names is whole. On any exception the new folder is
    removed and `path` is as it was. What killed processes left beside `path` is removed first.
    """
    target = Path(path)
    previous = previous_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent)
    temporary = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex[:8]}{_PARTIAL}")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
        sync_directory(temporary)
        if target.exists():
            if previous.exists():
                remove_folder(previous)
            target.rename(previous)
        temporary.rename(target)
        sync_directory(target.parent)
    except BaseException:
        if previous.exists() and not target.exists():
            previous.rename(target)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if previous.exists():
        remove_folder(previous)


def previous_of(path: Path) -> Path:
    """Where `replacing_folder` keeps the old folder until the new one is in place."""
    return path.with_name(path.name + PREVIOUS)


def remove_folder(path: Path) -> None:
    """Remove a folder, which first takes a name that nobody reads: there is never half of it under its own."""
    aside = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex[:8]}{_PARTIAL}")
    path.rename(aside)
    shutil.rmtree(aside)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed while writing or removing a folder left in `folder`."""
    for path in folder.glob(f".*{_PARTIAL}"):
        shutil.rmtree(path, ignore_errors=True)


def sync_directory(folder: Path) -> None:
    """Make a rename in `folder` durable; a no-op where directories cannot be opened (Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
