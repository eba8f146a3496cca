"""How much of the engine's rate many clients of `midifactory serve` get together, and when the first note comes.

    python benchmarks/serve.py CHECKPOINT [--tokens 256] [--requests 6] [--streams 40] [--repeats 3]

In turn, `repeats` times: the engine alone decodes 16 rows in this process; a server in a process of its own answers 16
clients, each of which asks for so many pieces one after the other; streams are opened one at a time, alone and beside 8
clients that compose all the time. Prints medians over the repeats. Nothing else may run on the machine.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import torch

from midifactory.generation.asked import what_is_asked
from midifactory.generation.pieces import engine_of
from midifactory.generation.stream import perform
from midifactory.serve.asking import settings_of
from midifactory.serve.schema import GenerateRequest
from midifactory.training.checkpoint import load_trained

CLIENTS, BESIDE = 16, 8


def engine_rate(checkpoint: Path, tokens: int) -> float:
    """Tokens a second of 16 rows that an engine decodes by itself, with the settings that the server's clients have."""
    trained = load_trained(checkpoint)
    settings = settings_of(GenerateRequest(tokens=tokens, num_samples=CLIENTS, seed=0))
    settings["style"] = {"_target_": "midifactory.generation.styles.Free"}
    asked, engine = what_is_asked(trained, settings), engine_of(trained)
    said = [0]

    def count(rows: int) -> None:
        said[0] += rows

    perform(asked.work(trained, settings), engine, count)  # the first one prepares tables and caches
    said[0], begin = 0, time.perf_counter()
    perform(asked.work(trained, settings), engine, count)
    return said[0] / (time.perf_counter() - begin)


@contextmanager
def server(checkpoint: Path) -> Iterator[str]:
    """A server of its own; gives its address."""
    command = [sys.executable, "-m", "midifactory.cli.main", "serve", f"checkpoint={checkpoint.resolve()}", "port=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("http://"):
                yield line.split()[0]
                return
        raise RuntimeError("the server did not start")
    finally:
        process.terminate()
        process.wait(60)


def ask(url: str, path: str, body: dict[str, object]) -> http.client.HTTPResponse:
    """A POST whose answer is to be read."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=300)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(answer.read())
    return answer


def clients_rate(url: str, tokens: int, requests: int) -> float:
    """Tokens a second that 16 clients get together."""
    got = [0] * CLIENTS

    def client(number: int) -> None:
        for request in range(requests):
            with ask(url, "/v1/generate", {"tokens": tokens, "seed": 1000 * number + request}) as answer:
                got[number] += json.loads(answer.read())["tokens"]

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(got) / (time.perf_counter() - begin)


def first_notes(url: str, streams: int) -> list[float]:
    """Seconds to the first note of one stream after the other."""
    waited = []
    for seed in range(streams):
        begin = time.perf_counter()
        with ask(url, "/v1/stream", {"bars": 4, "seed": seed}) as answer:
            while not answer.readline().startswith(b"event: note"):
                pass
            waited.append(time.perf_counter() - begin)
    return waited


@contextmanager
def composing_beside(url: str, tokens: int) -> Iterator[None]:
    """Eight clients that ask for one piece after the other."""
    stop = threading.Event()

    def client(number: int) -> None:
        seed = 0
        while not stop.is_set():
            seed += 1
            with ask(url, "/v1/generate", {"tokens": tokens, "seed": 1000 * number + seed}) as answer:
                answer.read()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(BESIDE)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    yield
    stop.set()
    for thread in threads:
        thread.join()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    for name, usual in (("tokens", 256), ("requests", 6), ("streams", 40), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    given = parser.parse_args()
    alone, together, quiet, busy = list[float](), list[float](), list[list[float]](), list[list[float]]()
    for _ in range(given.repeats):
        alone.append(engine_rate(given.checkpoint, given.tokens))
        with server(given.checkpoint) as url:
            first_notes(url, 2)
            together.append(clients_rate(url, given.tokens, given.requests))
            quiet.append(first_notes(url, given.streams))
            with composing_beside(url, given.tokens):
                busy.append(first_notes(url, given.streams))
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads; {given.checkpoint}")
    print(f"\n| {given.repeats} repeats | |\n|---|---|")
    rate, shared = statistics.median(alone), statistics.median(together)
    print(f"| engine alone, {CLIENTS} rows | {rate:,.0f} tokens/s |")
    print(f"| {CLIENTS} clients together | {shared:,.0f} tokens/s, {shared / rate:.0%} of the engine |")
    for name, waits in (("alone", quiet), (f"beside {BESIDE} clients", busy)):
        middle = statistics.median(statistics.median(part) for part in waits)
        worst = statistics.median(statistics.quantiles(part, n=20)[-1] for part in waits)
        print(f"| first note {name} | p50 {1000 * middle:.0f} ms, p95 {1000 * worst:.0f} ms |")


if __name__ == "__main__":
    main()
