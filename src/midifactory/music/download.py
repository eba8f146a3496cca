"""Files from the web that can be resumed and are checked before anybody sees them.

Of the standard library alone: all that is needed is one GET with a Range, which pooch does not do.
"""

import errno
import http.client
import json
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from midifactory import files
from midifactory.errors import UserError
from midifactory.music.archives import file_digest

ATTEMPTS = 3  # for each address, counted anew whenever bytes have come
TIMEOUT_S = 30.0
_BLOCK = 2**18

log = logging.getLogger(__name__)


class _Failed(Exception):
    """The transfer did not reach its end; `final` where the same address will not do better."""

    def __init__(self, reason: object, final: bool) -> None:
        super().__init__(" ".join(str(reason).split())[:160] or type(reason).__name__)
        self.final = final


def fetch(urls: Sequence[str], target: Path, checksum: str | None = None, *, progress: bool = True) -> Path:
    """Download the first of `urls` that answers to `target` and return it; a `target` that is there is only checked.

    `checksum` is "sha256:..." or "md5:..." in hexadecimal, None where nobody published one. What has come lies in
    `target`.part, also after Ctrl-C; the next call asks for the rest (RFC 9110, Range with If-Range) where the server
    named a strong ETag or a date. A server that ignores this sends the whole, and the file starts again.

    Raises UserError for a wrong checksum (the part is removed; a `target` that was there is not), for a folder
    that cannot be written, and, saying where to put the file by hand, where no address answers.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        if target.is_file():
            check(target, checksum)
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(urls, part, target, progress)
        try:
            check(part, checksum)
        except UserError:
            part.unlink()
            raise
        finally:
            _notes_path(part).unlink(missing_ok=True)
        part.replace(target)
        files.sync_directory(target.parent)
    except OSError as error:  # of the disk; those of the network are a _Failed
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"{target} cannot be written ({error.strerror}); name another folder") from error
    return target


def check(path: Path, checksum: str | None) -> None:
    """Raise UserError, with both sums, unless the file has this "algorithm:hexadecimal" checksum; None fits all."""
    if checksum is None:
        return
    algorithm, _, wanted = checksum.partition(":")
    found = file_digest(path, algorithm)
    if found != wanted.lower():
        name = path.name.removesuffix(".part")
        raise UserError(
            f"{name} has {algorithm} {found}, not {wanted}: broken, or another version; remove it and get it again"
        )


def _download(urls: Sequence[str], part: Path, target: Path, progress: bool) -> None:
    """Bring `part` to its full length from the first address that gives it."""
    reason = "no address is known"
    for url in urls:
        attempts = ATTEMPTS
        while attempts:
            before = _size(part)
            try:
                return _transfer(url, part, progress)
            except _Failed as error:
                reason = str(error)
                log.info("%s: %s", url, reason)
                attempts = 0 if error.final else ATTEMPTS if _size(part) > before else attempts - 1
    kept = f"; {part.name} is kept: run again to go on" if part.exists() else ""
    raise UserError(
        f"cannot download {target.name} ({reason}){kept}; by hand: put the file at {target} "
        "or into the folder $MIDIFACTORY_MIRROR, or name it with data.archive=FILE"
    )


def _transfer(url: str, part: Path, progress: bool) -> None:
    """One request for what `part` lacks; the notes beside it say of which version of which address it is a part."""
    notes = _read_notes(part)
    done = _size(part) if notes.get("url") == url and notes.get("validator") else 0
    length = notes.get("length")
    if done and done == length:
        return
    headers = {"User-Agent": "midifactory"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": notes["validator"]}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:  # the part is longer than the file
            part.unlink(missing_ok=True)
        final = error.code // 100 == 4 and error.code not in (408, 416, 429)
        raise _Failed(f"{error.code} {error.reason}", final) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Failed(getattr(error, "reason", error), final=True) from error
    with response:
        if response.headers.get_content_type() == "text/html":
            raise _Failed("the address gives a web page, not the file", final=True)
        if response.status == http.client.PARTIAL_CONTENT:
            given = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", response.headers.get("Content-Range", ""))
            if not given or int(given[1]) != done or given[2] not in ("*", str(length)):
                part.unlink(missing_ok=True)
                raise _Failed("the server gave another range than the one asked for", final=False)
        else:
            done = 0
            text = response.headers.get("Content-Length", "")
            length = int(text) if text.isdecimal() else None
            etag = response.headers.get("ETag", "")
            validator = response.headers.get("Last-Modified") if not etag or etag.startswith("W/") else etag
            part.unlink(missing_ok=True)  # before the notes change, so that they are never those of another part
            files.write_text(_notes_path(part), json.dumps({"url": url, "validator": validator, "length": length}))
        label = f"downloading {part.name.removesuffix('.part')}"
        with (
            part.open("ab") as file,
            tqdm(desc=label, total=length, initial=done, unit="B", unit_scale=True, disable=not progress) as bar,
        ):
            while block := _read(response):
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())
    if length is not None and _size(part) != length:
        raise _Failed(f"the transfer broke off at {_size(part)} of {length} bytes", final=False)


def _read(response: Any) -> bytes:
    try:
        return response.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _Failed(f"the transfer broke off: {error}", final=False) from error


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _notes_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_notes(part: Path) -> dict[str, Any]:
    try:
        notes = json.loads(_notes_path(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}
