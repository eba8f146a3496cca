"""How live music keeps time: margins, the first note, memory; decoding takes its real time, only sleep is skipped.

The clock runs on while tokens are taken, in the same thread as notes are handed out, which is the harder case: the
command decodes beside. Where nothing is to be done it jumps ahead. Prints JSON, and memory for every so many minutes.

    python benchmarks/live.py outputs/train/RUN [--minutes 10] [--turns] [--trace] [key=value of midifactory live ...]
"""

import argparse
import gc
import json
import os
import sys
import time
import tracemalloc
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

from midifactory.cli import hydra_app  # noqa: F401 - registers the resolver that the configs name
from midifactory.cli.arguments import to_overrides
from midifactory.cli.generate import read_settings
from midifactory.cli.live import Band, keep_memory_flat
from midifactory.paths import conf_dir
from midifactory.training.checkpoint import load_trained

_TURNS = ("density 2", "temperature 1.1", "instruments violin,cello", "density off", "instruments off", "tempo 120")
_TURN_SECONDS = 20.0


class SkippingClock:
    """Implements live.Clock: real time, or this process's own, but sleep takes none of it."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self.elapsed, self.skipped = elapsed, 0.0

    def monotonic(self) -> float:
        """Seconds since any beginning, slept ones included."""
        return self.elapsed() + self.skipped

    def sleep(self, seconds: float) -> None:
        """Jump ahead."""
        self.skipped += seconds


def resident_megabytes() -> float:
    """What this process holds of the machine's memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def since_process_start() -> float:
    """Seconds since the kernel started this process."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=10, help="minutes of music between two looks at the memory")
    parser.add_argument("--turns", action="store_true", help="turn something every 20 seconds of music")
    parser.add_argument("--cpu", action="store_true", help="count CPU time as time: for a machine that has other work")
    parser.add_argument("--trace", action="store_true", help="count what Python has allocated, at half the speed")
    given, overrides = parser.parse_known_args()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        asked = to_overrides("live", [f"checkpoint={given.run}", "device=cpu", *overrides])
        config = compose("live", [*asked, f"run_dir={given.run}"])
    settings = read_settings(config)
    keep_memory_flat()
    trained = load_trained(settings["checkpoint"], "cpu")
    elapsed = time.process_time if given.cpu else time.perf_counter
    clock, loaded = SkippingClock(elapsed), elapsed()
    band = Band(trained, settings, config, None, clock, in_background=False)
    live = band.live
    made = elapsed() - loaded
    if given.trace:
        tracemalloc.start()
    began, turned, looked = clock.monotonic(), 0, -given.every
    from_start, memory, margins = None, list[list[float]](), array("d")
    for note in live.notes(given.minutes * 60):
        margins.append(note.at_seconds - clock.monotonic())
        if from_start is None:
            from_start = since_process_start() + config.lookahead_ms / 1000
        played = note.at_seconds - began
        if given.turns and played > _TURN_SECONDS * (turned + 1):
            turned += 1
            band.desk.type(_TURNS[turned % len(_TURNS)])
        if played / 60 >= looked + given.every:
            looked += given.every
            paused = elapsed()
            gc.collect()
            traced = tracemalloc.get_traced_memory()[0] / 2**20 if given.trace else 0.0
            memory.append([round(looked), round(resident_megabytes(), 2), round(traced, 3)])
            print("minute, MB resident, MB traced:", *memory[-1], file=sys.stderr)
            clock.skipped -= elapsed() - paused
    report, ms = live.report, 1000 * np.array(margins)
    print(
        json.dumps(
            {
                "minutes": given.minutes,
                "time": "CPU" if given.cpu else "wall",
                "seconds_taken": round(elapsed() - loaded, 1),
                "report": str(report),
                "ms_to_first_note_from_loaded_model": round(1000 * (made + report.first_note_seconds)),
                "s_to_first_note_from_process_start": round(from_start or 0.0, 2),
                "notes": report.notes,
                "late": report.late,
                "waits": report.waits,
                "margin_ms": {f"p{q}": round(float(np.percentile(ms, q)), 2) for q in (0, 1, 50, 100)},
                "memory": memory,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
