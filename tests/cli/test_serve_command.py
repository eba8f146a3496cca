"""`midifactory serve` as it is typed: what it refuses, and that it serves a run and ends."""

import builtins
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from midifactory.cli.serve import TOKEN_VARIABLE

from .test_bad_input import assert_refused


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("port=http",), ("port=http", "65535")),
        (("port=70000",), ("port=70000",)),
        (("minutes=0",), ("minutes=0", "above 0")),
        (("host=0.0.0.0",), ("host=0.0.0.0", TOKEN_VARIABLE, "open_to_all")),
        (("token_file=nowhere",), ("token_file=nowhere", "cannot be read")),
        (("limits.rows=0",), ("limits.rows=0",)),
        (("checkpoint=nowhere",), ("checkpoint=nowhere",)),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(here, typed, words):
    assert_refused(here("serve", *typed), *words)


def test_a_short_token_is_refused(here, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    assert_refused(here("serve"), TOKEN_VARIABLE, "16")


def test_a_missing_extra_is_named(here, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "uvicorn":
            raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert_refused(here("serve"), "uvicorn", "midifactory[serve]")


def test_a_run_is_served_under_its_name_and_time_ends_it(in_studio, studio):
    done = in_studio("serve", "port=0", "minutes=0.01", "device=cpu")
    assert done.code == 0, done
    (run,) = (studio / "outputs" / "train").iterdir()
    assert f"model {run.name}: " in done.out
    assert re.search(r"^http://127\.0\.0\.1:\d+  ", done.out, re.MULTILINE)
    assert done.out.rstrip().endswith("ended")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_runs_end(studio, number):
    command = [
        sys.executable,
        "-m",
        "midifactory.cli.main",
        "serve",
        "port=0",
        "device=cpu",
        "checkpoint=[a=latest,b=latest]",
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=studio, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        url = next(line.split()[0] for line in process.stdout if line.startswith("http://"))
        body = json.dumps({"tokens": 2000, "model": "b"}).encode()
        request = urllib.request.Request(f"{url}/v1/stream", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            answer.readline()
            process.send_signal(number)
            assert b"event: end" in answer.read()
        assert process.wait(60) == 0
    finally:
        process.kill()
