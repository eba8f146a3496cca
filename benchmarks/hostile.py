"""Scan thousands of broken MIDI files and account for every one: python benchmarks/hostile.py ROOT [--mutations 10000]

ROOT holds the files to start from, anywhere below it: good ones, which are mutated, and odd ones, which are scanned as
they are and mutated too. Mutations are seeded. The scan runs in a process of its own, so that a crash of its main
process is seen. With --tokenise the files that were accepted go through the default tokenizer under the same limits.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from midifactory.music.scan import midi_files, scan_file, warm_up
from midifactory.music.score import Limits
from midifactory.music.workers import Failure, run_guarded

LONG_DELTA = b"\xff\xff\xff\x7f"  # 2^28 - 1 ticks, the longest that MIDI can write


def mutate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """One of seven kinds of damage; `other` is another file of the collection, for splices."""
    place, end = sorted(int(x) for x in rng.integers(0, max(1, len(data)), 2))
    kind = rng.integers(7)
    damaged = bytearray(data)
    if kind == 0:  # bytes changed
        for where in rng.integers(0, max(1, len(data)), int(rng.integers(1, 33))):
            damaged[where : where + 1] = rng.bytes(1)
    elif kind == 1:
        del damaged[place:]
    elif kind == 2:
        damaged[place:place] = rng.bytes(int(rng.integers(1, 257)))
    elif kind == 3:
        del damaged[place:end]
    elif kind == 4:
        damaged[place:] = other[int(rng.integers(0, max(1, len(other)))) :]
    elif kind == 5:  # format, number of tracks, division, or a length
        where = int(rng.integers(4, 26))
        damaged[where : where + 2] = [b"\x00\x00", b"\xff\xff", b"\x80\x01", rng.bytes(2)][rng.integers(4)]
    else:
        for where in rng.integers(22, max(23, len(data)), int(rng.integers(1, 17))):
            damaged[where : where + int(rng.integers(0, 2))] = LONG_DELTA
    # Parsers stop at a chunk of the wrong length, so half of the files get right ones and hurt further inside.
    return repaired(bytes(damaged)) if rng.integers(2) else bytes(damaged)


def repaired(data: bytes) -> bytes:
    """`data` with the length of every track chunk set to where the next one or the file's end is."""
    head, *chunks = data.split(b"MTrk")
    return head + b"".join(b"MTrk" + struct.pack(">I", max(0, len(chunk) - 4)) + chunk[4:] for chunk in chunks)


def make_files(root: Path, target: Path, count: int, seed: int) -> int:
    """Copy the files below `root` and write `count` mutations of them; the number of files made."""
    rng = np.random.default_rng(seed)
    originals = [path.read_bytes() for _, path in midi_files(root)]
    if not originals:
        raise SystemExit(f"{root} holds no MIDI files")
    for index, data in enumerate(originals):
        (target / f"original {index:06}.mid").write_bytes(data)
    for index in range(count):
        first, second = (originals[place] for place in rng.integers(0, len(originals), 2))
        (target / f"mutation {index:06}.mid").write_bytes(mutate(first, second, rng))
    return len(originals) + count


def measured(path: Path, limits: Limits, tokenise: bool) -> tuple[str, float, float]:
    """Kind of the refusal ("" for none), seconds, and this worker's highest memory so far in MB."""
    start = time.perf_counter()
    kind = encode(path, limits) if tokenise else scan_file(path, limits).kind
    return kind, time.perf_counter() - start, peak_megabytes()


def peak_megabytes() -> float:
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


_tokenizer = None


def start_tokenizer() -> None:
    global _tokenizer  # noqa: PLW0603
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from midifactory.paths import conf_dir

    _tokenizer = instantiate(OmegaConf.load(Path(conf_dir()) / "tokenizer" / "remi_plus.yaml"), _convert_="all")


def encode(path: Path, limits: Limits) -> str:
    from midifactory.music.score import UnreadableMidi, load_score

    try:
        return "too_many_tokens" if len(_tokenizer.encode(load_score(path, limits)).ids) > limits.max_tokens else ""
    except UnreadableMidi as error:
        return error.kind


def scan(folder: Path, tokenise: bool, workers: int | None) -> None:
    """Print one JSON object; runs in a process of its own."""
    limits = Limits()
    paths = [path for _, path in midi_files(folder)]
    report = {"files": len(paths)}
    for step in ("scan", "tokenise") if tokenise else ("scan",):
        results = run_guarded(
            partial(measured, limits=limits, tokenise=step == "tokenise"),
            paths,
            workers=workers,
            seconds=limits.seconds_per_file,
            megabytes=limits.memory_megabytes,
            initializer=start_tokenizer if step == "tokenise" else warm_up,
            label=step,
            progress=sys.stderr.isatty(),
        )
        kinds: Counter[str] = Counter()
        accepted, slowest, peak = [], (0.0, ""), 0.0
        start = time.perf_counter()
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, Failure):
                kinds[result.kind] += 1
                print(f"{step} {path.name}: {result.kind}: {result.reason}", file=sys.stderr)
                continue
            kind, seconds, megabytes = result
            slowest, peak = max(slowest, (seconds, path.name)), max(peak, megabytes)
            if kind:
                kinds[kind] += 1
            else:
                accepted.append(path)
        report[step] = {
            "files": len(paths),
            "accepted": len(accepted),
            "refused": dict(kinds.most_common()),
            "hangs": kinds["timed_out"],
            "slowest_seconds": round(slowest[0], 3),
            "slowest_file": slowest[1],
            "highest_worker_megabytes": round(peak),
            "seconds": round(time.perf_counter() - start, 1),
        }
        paths = accepted
    print(json.dumps(report))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--tokenise", action="store_true")
    parser.add_argument("--scan-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.scan_only:
        scan(arguments.root, arguments.tokenise, arguments.workers)
        return
    with tempfile.TemporaryDirectory() as folder:
        made = make_files(arguments.root, Path(folder), arguments.mutations, arguments.seed)
        command = [sys.executable, os.path.abspath(__file__), folder, "--scan-only"]
        command += ["--tokenise"] if arguments.tokenise else []
        command += [] if arguments.workers is None else ["--workers", str(arguments.workers)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        report = json.loads(done.stdout) if done.returncode == 0 else {"exit_status": done.returncode}
        first = report.get("scan", {"accepted": 0, "refused": {}})
        lost = made - first["accepted"] - sum(first["refused"].values())
        report |= {"made": made, "unaccounted_for": lost, "crashes_of_the_main_process": int(done.returncode != 0)}
        print(json.dumps(report, indent=1))
    sys.exit(int(bool(report["crashes_of_the_main_process"] or report["unaccounted_for"])))


if __name__ == "__main__":
    main()
