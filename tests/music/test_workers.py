"""Guarded work: order, limits, and that only the culprit is charged."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from midifactory.music.workers import run_guarded

_added = 0


def add_in_worker(number):
    global _added  # noqa: PLW0603
    _added = number


def behave(item):
    """An item that is a word misbehaves; at module level, as a worker process imports it."""
    if item == "hang":
        time.sleep(60)
    if item == "spin in native code":  # a regular expression holds the GIL and checks no signal
        import re

        re.match(r"(a*)*b", "a" * 40)
    if item == "exit":
        os._exit(11)
    if item == "quit":
        sys.exit(3)
    if item == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "eat":
        return int(np.ones(2**30, np.uint8).sum())
    if item == "raise":
        raise KeyError("first line\nsecond line")
    if item == "lambda":
        return lambda: 0
    return (item + _added, os.getpid())


def guarded(items, **options):
    defaults = {"workers": 2, "seconds": 1.0, "megabytes": 300, "label": "", "progress": False}
    return run_guarded(behave, items, **(defaults | options))


def test_only_the_culprits_are_charged_and_the_order_is_kept():
    words = ["hang", "exit", "raise", "quit", "lambda"]
    kinds = ["timed_out", "killed", "error", "error", "killed"]
    if sys.platform == "linux":
        words += ["eat", "segfault", "spin in native code"]
        kinds += ["out_of_memory", "killed", "timed_out"]
    items = list(range(100))
    for place, word in enumerate(words):
        items.insert(10 + 9 * place, word)
    start = time.perf_counter()
    results = list(guarded(items, initializer=add_in_worker, initargs=(1000,)))
    assert time.perf_counter() - start < 40
    assert len(results) == len(items)
    for item, result in zip(items, results, strict=True):
        if isinstance(item, int):
            assert result[0] == item + 1000
            assert result[1] != os.getpid()
    failures = dict(zip(items, results, strict=True))
    assert [failures[word].kind for word in words] == kinds
    assert failures["raise"].reason == "KeyError: 'first line\\nsecond line'"
    assert failures["hang"].reason == "took longer than 1 s"
    assert "exit status 11" in failures["exit"].reason


def test_one_hostile_item_does_not_end_this_process():
    assert [result.kind for result in guarded(["exit"], workers=None)] == ["killed"]


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": None, "seconds": None, "megabytes": None}])
def test_without_guards_few_items_stay_in_this_process(options):
    assert [result[1] for result in guarded([1, 2], **options)] == [os.getpid()] * 2


class Counting:
    """A sequence without end that remembers how far it was read."""

    def __init__(self, length):
        self.length = length
        self.furthest = 0

    def __len__(self):
        return self.length

    def __getitem__(self, places):
        self.furthest = max(self.furthest, places.stop)
        return list(range(places.start, min(places.stop, self.length)))


def test_a_million_items_are_not_taken_at_once_and_an_abandoned_run_ends_soon():
    items = Counting(1_000_000)
    results = guarded(items)
    assert [next(results)[0] for _ in range(50)] == list(range(50))
    assert items.furthest < 1000
    start = time.perf_counter()
    results.close()
    assert time.perf_counter() - start < 3


def test_slow_items_within_their_limit_pass():
    results = list(run_guarded(slowly, range(6), workers=1, seconds=2, megabytes=None, label="", progress=False))
    assert results == list(range(6))


def slowly(item):
    time.sleep(0.4)
    return item


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("main_guard", [True, False])
def test_scripts_are_interrupted_quickly_and_run_without_a_main_guard(tmp_path, main_guard):
    script = tmp_path / "script.py"
    body = """\
        options = dict(workers=1, seconds=60, megabytes=None, label="", progress=False)
        for result in run_guarded(time.sleep, [0.1, 0.1, 30], **options):
            print(result, flush=True)
        """
    head = "import time\nfrom midifactory.music.workers import run_guarded\n"
    guard = "if __name__ == '__main__':\n" if main_guard else ""
    script.write_text(head + guard + (textwrap.indent(textwrap.dedent(body), "    " if main_guard else "")))
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "None\n"
    assert process.stdout.readline() == "None\n"
    start = time.perf_counter()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert time.perf_counter() - start < 5
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert ("worker processes cannot start" in errors) is not main_guard
