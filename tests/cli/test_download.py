"""`midifactory download` as a user meets it; nothing here asks the network."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.conftest import write_midi
from midifactory.cli.download import main
from midifactory.music.registry import MIRROR, REGISTRY


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror that holds Nottingham, and an empty folder to work in."""
    (tmp_path / "made" / "MIDI").mkdir(parents=True)
    for number in range(5):
        write_midi(tmp_path / "made" / "MIDI" / f"jigs{number}.mid", number)
    (tmp_path / "mirror").mkdir()
    shutil.make_archive(str(tmp_path / "mirror" / "nottingham-dataset-0992bb6"), "zip", tmp_path / "made", "MIDI")
    monkeypatch.setenv(MIRROR, str(tmp_path / "mirror"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "mirror"


def test_the_list_has_a_line_for_each_corpus(mirror, capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = lines[0].split()
    for name, entry in REGISTRY.items():
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        cells = dict(zip(heads, line.split(), strict=False))
        assert line.endswith(entry.licence)
        assert cells["files"] == f"{entry.files:,}"
        assert cells["verified"] == ("yes" if entry.verified else "no")
        assert cells["here"] == "no"
    assert list(Path.cwd().iterdir()) == []


def test_from_the_terms_to_a_folder_that_data_finds(mirror, capsys):
    assert main(["nottingham"]) == 0
    out = capsys.readouterr().out
    for text in ("GPL-3.0", "cite: Nottingham", "NOT verified"):
        assert text in out
    assert out.rstrip().endswith("midifactory train data=nottingham")
    assert len(list(Path("outputs/corpora/nottingham").rglob("*.mid"))) == 5
    assert main([]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("nottingham ")]
    assert " yes " in line
    assert main(["data=nottingham"]) == 0  # as the other commands write it; nothing is left to do


def test_another_root_and_an_archive_by_name(mirror, capsys, tmp_path):
    archive = shutil.copy(next(mirror.glob("*.zip")), tmp_path / "my own.zip")
    assert main(["nottingham", "data.root=here", f"data.archive={archive}"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("data=nottingham data.root=here")
    assert len(list(Path("here").rglob("*.mid"))) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["notingham"], "corpus 'notingham' is unknown; did you mean 'nottingham'?"),
        (["groove", "pop909"], "not 2 names"),
        (["groove", "data.limit=3"], "not data.limit"),
        (["data.root=x"], "not 0 names"),
        (["groove", "data.archive=none.zip"], "archive none.zip does not exist"),
        (["giantmidi"], "must be fetched by hand from https://github.com/bytedance/GiantMIDI-Piano"),
    ],
)
def test_mistakes_are_one_line(mirror, capsys, words, message):
    assert main(words) == 2
    err = capsys.readouterr().err.splitlines()
    assert message in err[-1]
    assert [line for line in err if line.startswith("midifactory: ")] == [err[-1]]


def test_help(capsys):
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: midifactory download [NAME]")


def test_ctrl_c_keeps_the_part(tmp_path):
    """A server that sends half of a file and waits; the process that is interrupted says how to go on."""
    waiting, done = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2000000")
            self.send_header("ETag", '"one"')
            self.end_headers()
            self.wfile.write(bytes(1_000_000))
            waiting.set()
            done.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    program = (
        "import sys, dataclasses\nfrom midifactory.music import registry\nfrom midifactory.cli.main import main\n"
        "entry = dataclasses.replace(registry.REGISTRY['groove'], urls=(sys.argv[1],))\n"
        "registry.REGISTRY = {'groove': entry}\nsys.exit(main(['download', 'groove']))\n"
    )
    url = f"http://127.0.0.1:{server.server_port}/groove.zip"
    environment = {key: value for key, value in os.environ.items() if key != MIRROR}
    process = subprocess.Popen(
        [sys.executable, "-c", program, url], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert waiting.wait(30)
        part = tmp_path / "outputs" / "corpora" / "groove-v1.0.0-midionly.zip.part"
        while not (part.exists() and part.stat().st_size > 0):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        done.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "midifactory: interrupted; run the same command again to go on"
    assert 0 < part.stat().st_size <= 1_000_000
