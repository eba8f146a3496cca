"""Work on many files in other processes, so that one which hangs, eats memory or crashes costs itself only."""

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool
from tqdm import tqdm

T = TypeVar("T")
R = TypeVar("R")

_CHUNK_ITEMS = 16
# A worker hands back what it has after this long, so a chunk that takes longer than the limit of one item and this
# holds an item beyond its limit.
_CHUNK_SECONDS = 0.5
_CHUNKS_AHEAD = 4  # for each worker: enough that none waits, and few enough that memory stays flat
_MOST_RESTARTS = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """What an item came to that gave no result; `kind` is timed_out, out_of_memory, killed or error."""

    kind: str
    reason: str


def run_guarded(
    task: Callable[[T], R],
    items: Sequence[T],
    *,
    workers: int | None,
    seconds: float | None,
    megabytes: float | None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
    label: str,
    progress: bool,
    few: int = 32,
) -> Iterator[R | Failure]:
    """Yield `task(item)` or a Failure for every item, in the order of `items`, computed a little ahead.

    `workers` processes (None: one per core) each call `initializer(*initargs)` once, which is outside the limits.
    An item may take `seconds` of wall clock and `megabytes` of address space beyond what its worker had at the start
    (Linux only; elsewhere memory is not limited); None is no limit. An item that shares its worker's fate with others
    is run again alone, so a task must bear being run twice. What a task raises becomes a Failure of kind "error".

    With workers=0 everything runs in this process and no limit holds. So do at most `few` items where neither limit
    is asked for and `workers` is None, since a process takes a second to start. A limit always gets a worker process,
    except where none can start (a script without `if __name__ == "__main__":`); a warning then says so.

    `task`, `items`, `initargs` and results must be picklable. Closing the iterator or Ctrl-C ends the workers at once.
    """
    unguarded = seconds is None and megabytes is None
    here = workers == 0 or (workers is None and unguarded and len(items) <= few)
    if here or not items:
        results = _in_this_process(task, items, initializer, initargs)
    else:
        count = min(workers or os.cpu_count() or 1, len(items))
        setup = (task, seconds, megabytes, initializer, initargs)
        results = _Pool(min(count, -(-len(items) // 4)), setup, seconds).run(items)
    with tqdm(total=len(items), desc=label, unit="file", disable=not progress) as bar, closing(results):
        for result in results:
            bar.update()
            yield result


def _in_this_process(
    task: Callable[[T], R], items: Sequence[T], initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> Generator[R | Failure, None, None]:
    if initializer:
        initializer(*initargs)
    for item in items:
        yield _attempt(task, item, None)


class _Pool:
    """A pebble pool that is started anew when it breaks; its work is chunks, which are taken apart on failure."""

    def __init__(self, count: int, setup: tuple[Any, ...], seconds: float | None):
        self.count = count
        self.setup = setup
        self.seconds = seconds
        self.pool = self._start()

    def _start(self) -> ProcessPool:
        # spawn: a fork of a process with torch's or a notebook's threads can hang.
        return ProcessPool(self.count, initializer=_start_worker, initargs=self.setup, context=get_context("spawn"))

    def run(self, items: Sequence[Any]) -> Generator[Any, None, None]:
        """Results or Failures in the order of `items`."""
        try:
            try:
                self._result(self.pool.schedule(os.getpid))
            except BrokenProcessPool:
                log.warning(
                    'worker processes cannot start (a script needs `if __name__ == "__main__":`); using none, '
                    "so a file that hangs or crashes its reader ends this process too"
                )
                task, _, _, initializer, initargs = self.setup
                yield from _in_this_process(task, items, initializer, initargs)
                return
            yield from self._chunks(items)
            # A worker that is stopped while it still starts would print a traceback.
            self.pool.close()
            self.pool.join()
        finally:
            self._stop()

    def _stop(self) -> None:
        self.pool.stop()
        with suppress(RuntimeError):
            self.pool.join()

    def _chunks(self, items: Sequence[Any]) -> Iterator[Any]:
        size = max(1, min(_CHUNK_ITEMS, len(items) // (2 * self.count)))
        queue: deque[tuple[Sequence[Any], ProcessFuture]] = deque()
        taken = restarts = 0
        while taken < len(items) or queue:
            while taken < len(items) and len(queue) < _CHUNKS_AHEAD * self.count:
                part = items[taken : taken + size]
                queue.append((part, self._schedule(part)))
                taken += len(part)
            part, future = queue.popleft()
            results: list[Any] = []
            rest = [part]
            try:
                results = self._result(future)
                rest, restarts = [part[len(results) :]], 0
            except BrokenProcessPool:
                restarts += 1
                self._stop()
                self.pool = self._start()
                waiting = [others for others, _ in queue]
                queue = deque()
                if len(part) == 1 and restarts >= _MOST_RESTARTS:
                    results, rest, restarts = [Failure("killed", "ended the process that read it")], [], 0
                else:
                    rest = [part[place : place + 1] for place in range(len(part))]
                queue.extend((others, self._schedule(others)) for others in [*rest, *waiting])
                rest = []
            except Exception as error:
                if len(part) == 1:
                    results, rest = [self._failure(error)], []
                else:
                    rest = [part[place : place + 1] for place in range(len(part))]
            queue.extendleft(reversed([(others, self._schedule(others)) for others in rest if len(others)]))
            yield from results

    def _schedule(self, part: Sequence[Any]) -> ProcessFuture:
        limit = None if self.seconds is None else self.seconds + (_CHUNK_SECONDS if len(part) > 1 else 0)
        try:
            return self.pool.schedule(_run_chunk, (part,), timeout=limit)
        except RuntimeError as error:  # the pool has broken in the meantime
            future: ProcessFuture = ProcessFuture()
            future.set_exception(BrokenProcessPool(str(error)))
            return future

    def _result(self, future: ProcessFuture) -> Any:
        while not wait([future], timeout=1).done:
            # What was not yet handed to a worker when the pool broke would be waited for for ever.
            if not self.pool.active and not wait([future], timeout=1).done:
                raise BrokenProcessPool("the pool ended")
        return future.result()

    def _failure(self, error: Exception) -> Failure:
        if isinstance(error, TimeoutError):
            return Failure("timed_out", f"took longer than {self.seconds:g} s")
        if isinstance(error, ProcessExpired):
            return Failure("killed", f"ended the process that read it (exit status {error.exitcode})")
        return _describe(error)


class GuardedWorker:
    """A worker process that stays: for single items that come at any time, from any thread, under the same limits.

    task, initializer, seconds and megabytes are as for `run_guarded`; the process starts with the first item.
    """

    def __init__(
        self,
        task: Callable[[Any], Any],
        *,
        seconds: float,
        megabytes: float | None,
        initializer: Callable[..., object] | None = None,
        workers: int = 1,
    ):
        self._setup = (task, seconds, megabytes, initializer, ())
        self._count, self._seconds = workers, seconds
        self._lock = threading.Lock()
        self._pool: _Pool | None = None
        self._closed = False

    def run(self, item: Any) -> Any:
        """What the task returns for `item`, or a Failure. Waits while other items are worked on."""
        for _ in range(_MOST_RESTARTS):
            with self._lock:
                if self._closed:
                    break
                pool = self._pool = self._pool or _Pool(self._count, self._setup, self._seconds)
            try:
                (result,) = pool._result(pool._schedule([item]))
            except BrokenProcessPool:
                with self._lock:
                    if self._pool is pool:
                        pool._stop()
                        self._pool = None
                continue
            except Exception as error:
                return pool._failure(error)
            return result
        return Failure("killed", "ended the process that read it")

    def close(self) -> None:
        """End the process; nothing is read from then on."""
        with self._lock:
            pool, self._pool, self._closed = self._pool, None, True
        if pool is not None:
            pool._stop()


_task: Callable[[Any], Any]  # one per worker process, set by the pool's initialiser
_limits: tuple[float | None, float | None] = (None, None)  # seconds, megabytes


def _start_worker(
    task: Callable[[Any], Any],
    seconds: float | None,
    megabytes: float | None,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
) -> None:
    global _task, _limits
    # pebble's handler would wait for native code to return; the default ends a hanging parser at once.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if initializer:
        initializer(*initargs)
    _task, _limits = task, (seconds, megabytes)
    if megabytes is not None and sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + int(megabytes * 2**20)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))


def _run_chunk(part: Sequence[Any]) -> list[Any]:
    """Results of the first items of `part`, as many as fit into _CHUNK_SECONDS, at least one."""
    results: list[Any] = []
    start = time.perf_counter()
    for item in part:
        results.append(_attempt(_task, item, _limits[0]))
        if time.perf_counter() - start > _CHUNK_SECONDS:
            break
    return results


def _attempt(task: Callable[[T], R], item: T, seconds: float | None) -> R | Failure:
    start = time.perf_counter()
    try:
        result = task(item)
    except (Exception, SystemExit) as error:
        return _describe(error)
    if seconds is not None and time.perf_counter() - start > seconds:
        return Failure("timed_out", f"took longer than {seconds:g} s")
    return result


def _describe(error: BaseException) -> Failure:
    if isinstance(error, MemoryError):
        return Failure("out_of_memory", f"needs more than the memory it may use{_megabytes()}")
    first_line = next(iter(str(error).strip().splitlines()), "")[:200]
    return Failure("error", f"{type(error).__name__}: {first_line}")


def _megabytes() -> str:
    return "" if _limits[1] is None else f", {_limits[1]:g} MB"
