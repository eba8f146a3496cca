"""Archives from strangers, unpacked so that nothing lands outside the target and nothing fills the disk."""

import errno
import hashlib
import json
import lzma
import os
import posixpath
import re
import shutil
import stat
import struct
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from midifactory import files
from midifactory.errors import UserError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# The largest corpus we know, Lakh's matched files, has 116,189 files in an archive of 1.4 GB.
MAX_BYTES = 10 * 2**30
MAX_FILES = 250_000
MARKER = ".midifactory.json"
_BLOCK = 2**20
_TRAILING_BLOCKS = 16
# Real trees are a tenth as deep; walking thousands of folders in each other ends in a RecursionError.
_MAX_PARTS = 100
# tarfile reads long names and PAX headers whole, and 300 of them in a row, before any bound of ours counts.
_MAX_HEADER_BYTES = 2**18
_LONG_HEADERS = {
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
}
# RuntimeError: a password is wanted. NotImplementedError: an unknown packing method.
_BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, struct.error),
    *(RuntimeError, NotImplementedError, ValueError, OverflowError, IndexError),
)


@dataclass(frozen=True)
class _Member:
    """One entry; `link` is where a link points to, `open` gives the bytes of a regular file of `size` bytes."""

    name: str
    size: int = 0
    is_folder: bool = False
    link: str | None = None
    is_hard_link: bool = False
    open: Callable[[], IO[bytes]] | None = None


class _HeaderTooLarge(Exception):
    """A tar header that would fill the memory; no TarError, for tarfile takes some of those for the end."""


class _TarInfo(tarfile.TarInfo):
    """tarfile's, but for headers of any length and for sparse files, whose maps have any length, too."""

    def _proc_member(self, opened: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _LONG_HEADERS and self.size > _MAX_HEADER_BYTES:
            raise _HeaderTooLarge(f"a header of {self.size} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise _HeaderTooLarge("a sparse file")
        return super()._proc_member(opened)  # type: ignore[misc]

    def _proc_gnusparse_10(self, *_: object) -> None:
        raise _HeaderTooLarge("a sparse file")


def home_path(path: str | os.PathLike[str], key: str) -> Path:
    """A path with ~ and ~user replaced. Raises UserError, which names `key`, where there is no such user."""
    try:
        return Path(str(path)).expanduser()
    except RuntimeError as error:
        raise UserError(f"{key}={path} has no home folder ({error}); write the folder out") from error


def unpack(
    archive: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
    progress: bool = True,
) -> Path:
    """Unpack a .zip or .tar(.gz, .bz2, .xz) into the new folder `target` and return it.

    The folder is filled beside `target` and renamed at the end, so an interruption leaves nothing there. A marker in
    it names the archive's name, size and SHA-256; where it fits, nothing is done. Bytes are counted as they are
    written, since headers can lie; links are never made (those that stay inside are left out), and modes, owners and
    times of the archive do not count.

    Raises UserError for a missing, broken or encrypted archive, a member with an absolute path or `..`, a link that
    leaves the target, a device, more than `max_bytes` or `max_files`, and a target that holds something else.
    """
    archive, target = home_path(archive, "data.archive"), home_path(target, "data.root")
    if not archive.is_file():
        raise UserError(f"archive {archive} {'is not a file' if archive.exists() else 'does not exist'}; name one")
    if not archive.name.lower().endswith(SUFFIXES):
        raise UserError(f"archive {archive} is of no known kind; use one of {', '.join(SUFFIXES)}")
    stamp = {"archive": archive.name, "size": archive.stat().st_size, "sha256": file_digest(archive, "sha256")}
    if read_marker(target) == stamp:
        return target
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(
            f"{target} exists and was not unpacked from {archive} as it is now; remove it or name another data.root"
        )
    staging = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex[:8]}")
    try:
        staging.mkdir(parents=True)
        _fill(staging, archive, max_bytes, max_files, progress)
        files.write_text(staging / MARKER, json.dumps(stamp, indent=1) + "\n")
        if target.exists():
            target.rmdir()  # empty; Windows does not rename over it
        staging.rename(target)
        files.sync_directory(target.parent)
    except OSError as error:
        if read_marker(target) == stamp:  # another process was faster
            return target
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"{archive} cannot be unpacked to {target} ({error.strerror}); name another folder") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def read_marker(target: Path) -> dict[str, Any] | None:
    """What `unpack` left in `target`: archive (its name), size, sha256; None where it did not make that folder."""
    try:
        marker = json.loads((target / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) else None


def file_digest(path: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file's bytes; `algorithm` is one of hashlib's."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _fill(folder: Path, archive: Path, max_bytes: int, max_files: int, progress: bool) -> None:
    """Write the members of `archive` below `folder`, which is new and holds no link that could mislead us."""
    read = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
    written = 0
    with (
        _broken_is_one_line(archive),
        closing(read(archive)) as members,
        tqdm(desc=f"unpacking {archive.name}", unit="B", unit_scale=True, disable=not progress) as bar,
    ):
        for count, member in enumerate(members, start=1):
            if count > max_files:
                raise UserError(
                    f"archive {archive} holds more than {max_files} files; if you trust it, unpack it by hand"
                )
            path = folder.joinpath(*_safe_parts(member, archive))
            if member.is_folder:
                path.mkdir(parents=True, exist_ok=True)
            if member.open is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            start = written
            with member.open() as source, path.open("wb") as file:
                while block := source.read(_BLOCK):
                    written += len(block)
                    if written > max_bytes:
                        limit = f"more than {max_bytes} bytes"
                        raise UserError(f"archive {archive} unpacks to {limit}; if you trust it, unpack it by hand")
                    file.write(block)
                    bar.update(len(block))
            if written - start != member.size:
                raise UserError(
                    f"archive {archive} is broken ({member.name[:80]!r} is cut short); remove it and get it again"
                )


@contextmanager
def _broken_is_one_line(archive: Path) -> Iterator[None]:
    """The many exceptions of a broken archive, turned into one for the user."""
    try:
        yield
    except _HeaderTooLarge as error:
        raise UserError(
            f"archive {archive} is refused: it holds {error}; if you trust it, unpack it by hand"
        ) from error
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk; gzip and bz2 complain of their data by an OSError without a number
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"archive {archive} is broken ({reason}); remove it and get it again") from error


def _safe_parts(member: _Member, archive: Path) -> list[str]:
    """The parts of the member's path, none of which leads upward; Windows's separators and drives count, too."""
    name = member.name
    if _is_rooted(name) or ".." in re.split(r"[/\\]", name):
        raise UserError(f"archive {archive} is refused: it would write {name[:80]!r} outside the target folder")
    if member.link is not None:
        # A symbolic link is relative to its folder, a hard link of a tar to the archive's root.
        base = "" if member.is_hard_link else name.replace("\\", "/").rpartition("/")[0]
        end = posixpath.normpath(posixpath.join(base, member.link.replace("\\", "/")))
        if _is_rooted(member.link) or end.split("/")[0] == "..":
            raise UserError(
                f"archive {archive} is refused: {name[:80]!r} links to {member.link[:80]!r}, outside the target"
            )
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if len(parts) > _MAX_PARTS:
        raise UserError(f"archive {archive} is refused: {name[:80]!r}... has {len(parts)} parts, at most {_MAX_PARTS}")
    return parts


def _is_rooted(name: str) -> bool:
    return name[:1] in ("/", "\\") or re.match(r"[A-Za-z]:", name) is not None


def _zip_members(archive: Path) -> Generator[_Member, None, None]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the packer knows no kinds
            if info.is_dir():
                yield _Member(info.filename, is_folder=True)
            elif kind == stat.S_IFLNK:
                with opened.open(info) as stream:
                    yield _Member(info.filename, link=stream.read(4096).decode("utf-8", "replace"))
            elif kind in (0, stat.S_IFREG):
                yield _Member(info.filename, info.file_size, open=partial(opened.open, info))
            else:
                raise UserError(f"archive {archive} is refused: {info.filename[:80]!r} is a device or a pipe")


def _tar_members(archive: Path) -> Generator[_Member, None, None]:
    with tarfile.open(archive, "r:*", tarinfo=_TarInfo) as opened:
        while (info := opened.next()) is not None:
            # tarfile would keep every header until the end.
            opened.members.clear()  # type: ignore[attr-defined]
            opened.pax_headers = {}
            if info.isdir():
                yield _Member(info.name, is_folder=True)
            elif info.issym() or info.islnk():
                yield _Member(info.name, link=info.linkname, is_hard_link=info.islnk())
            elif info.isreg():
                yield _Member(info.name, info.size, open=partial(_tar_stream, opened, info))
            else:
                raise UserError(f"archive {archive} is refused: {info.name[:80]!r} is a device or a pipe")
        # gzip and xz have their checksums at the end, which tarfile does not read: 10 KiB or so, never megabytes.
        stream = opened.fileobj
        for _ in range(_TRAILING_BLOCKS):
            if stream is None or not stream.read(_BLOCK):
                return
        raise tarfile.ReadError("data behind the end")


def _tar_stream(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = opened.extractfile(info)
    if stream is None:  # only for what is no regular file
        raise tarfile.ReadError(f"{info.name} has no content")
    return stream
