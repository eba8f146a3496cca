"""Downloads against a web server of our own that breaks off, ignores ranges, changes its file, or lies."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from midifactory.errors import UserError
from midifactory.music.download import ATTEMPTS, fetch

DATA = random.Random(0).randbytes(1_000_000)
SUM = "sha256:" + hashlib.sha256(DATA).hexdigest()


@dataclass
class Site:
    """What the server gives and has been asked; `breaks` are the bytes after which each answer in turn ends."""

    url: str = ""
    data: bytes = DATA
    etag: str | None = '"one"'
    modified: str | None = None
    status: int = 200
    kind: str = "application/zip"
    ranges: bool = True
    with_length: bool = True
    breaks: list[int] = field(default_factory=list)
    slow: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(dict(self.headers))
            validator = site.etag or site.modified
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            whole = not (site.ranges and start and self.headers.get("If-Range") == validator)
            start = 0 if whole else start
            if not whole and start >= len(site.data):
                self.send_error(416)
                return
            if site.status != 200:
                self.send_error(site.status)
                return
            self.send_response(200 if whole else 206)
            self.send_header("Content-Type", site.kind)
            if site.etag:
                self.send_header("ETag", site.etag)
            if site.modified:
                self.send_header("Last-Modified", site.modified)
            if site.with_length:
                self.send_header("Content-Length", str(len(site.data) - start))
            if not whole:
                self.send_header("Content-Range", f"bytes {start}-{len(site.data) - 1}/{len(site.data)}")
            self.end_headers()
            end = start + site.breaks.pop(0) if site.breaks else len(site.data)
            for place in range(start, min(end, len(site.data)), 50_000):
                block = site.data[place : min(place + 50_000, end)]
                self.wfile.write(block)
                site.sent += len(block)
                if site.slow:
                    time.sleep(0.05)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:  # a client that was killed
            pass

    server = Server(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}/music.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "corpora" / "music.zip"


def get(site: Site, target: Path, checksum: str | None = SUM) -> Path:
    return fetch([site.url], target, checksum, progress=False)


def beside(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()}


def test_a_file_arrives_once(site, target):
    assert get(site, target) == target
    assert target.read_bytes() == DATA
    assert beside(target) == {"music.zip"}
    get(site, target)
    assert len(site.asked) == 1


@pytest.mark.parametrize("checksum", ["md5:" + hashlib.md5(DATA).hexdigest(), SUM.upper().replace("SHA", "sha"), None])
def test_checksums_of_other_kinds(site, target, checksum):
    assert get(site, target, checksum).read_bytes() == DATA


@pytest.mark.parametrize("validator", [{"etag": '"one"'}, {"etag": None, "modified": "Mon, 01 Jan 2024 00:00:00 GMT"}])
def test_a_broken_transfer_goes_on_where_it_broke(site, target, validator):
    vars(site).update(validator, breaks=[300_000, 0, 200_000, 0, 0])
    assert get(site, target).read_bytes() == DATA
    assert [ask.get("Range") for ask in site.asked] == [
        *(None, "bytes=300000-", "bytes=300000-", "bytes=500000-", "bytes=500000-", "bytes=500000-"),
    ]
    assert site.sent == len(DATA)
    assert beside(target) == {"music.zip"}


def test_after_too_many_breaks_the_next_call_goes_on(site, target):
    site.breaks = [600_000] + [0] * ATTEMPTS
    with pytest.raises(UserError, match=r"broke off at 600000 of 1000000 bytes.*music\.zip\.part is kept: run again"):
        get(site, target)
    assert not target.exists()
    assert get(site, target).read_bytes() == DATA
    assert site.sent == len(DATA)


def test_a_killed_process_is_resumed(site, target):
    site.slow = True
    program = "import sys; from midifactory.music.download import fetch; from pathlib import Path\n"
    program += "fetch([sys.argv[1]], Path(sys.argv[2]), progress=False)"
    process = subprocess.Popen([sys.executable, "-c", program, site.url, target], stderr=subprocess.DEVNULL)
    while site.sent < 500_000:
        time.sleep(0.01)
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    part = target.with_name("music.zip.part")
    assert not target.exists()
    kept = part.stat().st_size
    assert kept > 0
    site.slow = False
    get(site, target)
    assert site.asked[-1]["Range"] == f"bytes={kept}-"
    assert target.read_bytes() == DATA


@pytest.mark.parametrize(
    "server",
    [{"ranges": False}, {"etag": None}, {"etag": 'W/"weak"'}, {"etag": None, "with_length": False}],
    ids=["ignores ranges", "names no version", "weak version", "no length"],
)
def test_a_server_that_cannot_resume_starts_again(site, target, server):
    vars(site).update(server, breaks=[400_000, 500_000])
    if not site.with_length:
        site.breaks = []  # nobody could know that it broke off
    assert get(site, target).read_bytes() == DATA
    assert site.sent == len(DATA) + (900_000 if site.with_length else 0)


def test_a_file_that_changed_in_between_is_not_mixed(site, target):
    site.breaks = [600_000] + [0] * ATTEMPTS
    with pytest.raises(UserError):
        get(site, target, None)
    site.data, site.etag = DATA[::-1], '"two"'
    assert get(site, target, None).read_bytes() == DATA[::-1]


@pytest.mark.parametrize("length", [400_000, 1_000_000])
def test_a_part_that_no_longer_fits_the_file(site, target, length):
    """The same version named for a shorter file (416, or a range of another total)."""
    site.breaks = [600_000] + [0] * ATTEMPTS
    with pytest.raises(UserError):
        get(site, target, None)
    site.data = DATA[:length] if length < 600_000 else DATA + b"more"
    assert get(site, target, None).read_bytes() == site.data


def test_a_wrong_checksum_names_both_and_leaves_nothing(site, target):
    wrong = "sha256:" + "0" * 64
    with pytest.raises(UserError) as caught:
        get(site, target, wrong)
    assert SUM[7:] in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert "\n" not in str(caught.value)
    assert beside(target) == set()
    target.write_bytes(b"the user's")
    with pytest.raises(UserError, match="sha256"):
        get(site, target)
    assert target.read_bytes() == b"the user's"


def test_the_next_address_is_tried(site, target):
    dead = "http://127.0.0.1:9/music.zip"
    assert fetch([dead, site.url], target, SUM, progress=False).read_bytes() == DATA


@pytest.mark.parametrize(
    ("server", "reason", "asked"),
    [({"status": 404}, "404", 1), ({"status": 503}, "503", ATTEMPTS), ({"kind": "text/html"}, "a web page", 1)],
)
def test_what_no_repetition_mends(site, target, server, reason, asked):
    vars(site).update(server)
    with pytest.raises(UserError, match=reason):
        get(site, target)
    assert len(site.asked) == asked
    assert beside(target) == set()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://no-such-host.invalid/x", "not an address", None])
def test_without_a_network_one_line_says_where_to_put_the_file(target, url):
    with pytest.raises(UserError) as caught:
        fetch([url] if url else [], target, SUM)
    message = str(caught.value)
    assert "\n" not in message
    for place in (str(target), "$MIDIFACTORY_MIRROR", "data.archive=FILE"):
        assert place in message


def test_a_folder_that_cannot_be_made(site, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        get(site, tmp_path / "taken" / "music.zip")
