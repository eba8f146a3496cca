"""Where pieces are tokenised: worker processes of this machine, or a Ray cluster. Both run `encode_file`."""

import itertools
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from midifactory.errors import UserError
from midifactory.music.score import Limits, UnreadableMidi, load_score
from midifactory.music.workers import Failure, run_guarded
from midifactory.tokens.grid import read_tokenizer
from midifactory.tokens.tokenizer import Encoding, Tokenizer

Engine = Literal["processes", "ray"]
# Packed: numpy leaves the gaps of an aligned dtype unset, and equal builds would differ in their bytes.
GROUP_DTYPE = np.dtype([("token", "<i8"), ("seconds", "<f8"), ("bar", "<i4"), ("notes", "<i4"), ("opens_bar", "?")])
# Starting workers, which load MidiTok, costs two seconds; up to this many pieces, which the scan has read before, this
# process is done sooner without the limits that need a worker. The second figure is for tokens/fast_remi.py.
_FEW_PIECES, _FEW_FAST_PIECES = 48, 512
_FILES_PER_RAY_TASK = 16


@dataclass(frozen=True)
class EncodedFile:
    """One file as the store keeps it: ids (N,) in the store's dtype, groups (G,) of GROUP_DTYPE, notes in the file."""

    ids: np.ndarray
    groups: np.ndarray
    source_notes: int
    notes: int


@dataclass(frozen=True)
class Preparation:
    """How a corpus is prepared; conf's `prepare`. workers: None for one per core.

    Raises UserError for an unknown engine and for fewer than 0 workers.
    """

    engine: Engine = "processes"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.engine not in get_args(Engine):
            raise UserError(f"prepare.engine={self.engine}: choose one of {', '.join(get_args(Engine))}")
        if self.workers is not None and (type(self.workers) is not int or self.workers < 0):
            raise UserError(f"prepare.workers={self.workers}: give a whole number from 0, or null for one per core")


def encode_files(
    paths: Sequence[Path], tokenizer: Tokenizer, preparation: Preparation, limits: Limits, progress: bool = True
) -> Iterator[EncodedFile | str]:
    """The encodings of `paths`, in their order, one at a time; the reason as text where a file has none.

    Memory does not grow with the number of files. Raises UserError where Ray is asked for and not installed.
    """
    if preparation.engine == "ray":
        yield from _encode_on_ray(paths, tokenizer, preparation.workers, limits, progress)
        return
    few = len(paths) <= (_FEW_FAST_PIECES if tokenizer.is_fast else _FEW_PIECES) and preparation.workers is None
    for result in run_guarded(
        _encode_in_worker,
        paths,
        workers=preparation.workers,
        seconds=None if few else limits.seconds_per_file,
        megabytes=None if few else limits.memory_megabytes,
        initializer=_start_worker,
        initargs=(tokenizer.to_json(), limits),
        label="tokenise",
        progress=progress,
        few=len(paths) if few else 0,
    ):
        yield result.reason if isinstance(result, Failure) else result


def encode_file(path: Path, tokenizer: Tokenizer, limits: Limits) -> EncodedFile | str:
    """The encoding of one file, or the reason why there is none."""
    try:
        score = load_score(path, limits)
        encoding = tokenizer.encode(score)
    except (UnreadableMidi, UserError) as error:
        return str(error)
    except MemoryError:
        raise  # for the worker's guard to name
    except Exception as error:  # MidiTok raises KeyError, IndexError and others on strange but valid files
        return f"{type(error).__name__}: {error}".splitlines()[0]
    if len(encoding.ids) > limits.max_tokens:
        return f"{len(encoding.ids)} tokens, more than data.limits.max_tokens={limits.max_tokens}"
    ids, groups = encoding.ids.astype(id_dtype(tokenizer)), group_table(encoding)
    return EncodedFile(ids, groups, score.note_num(), encoding.notes)


def group_table(encoding: Encoding) -> np.ndarray:
    """The onset groups of an encoding, (G,) of GROUP_DTYPE."""
    groups = np.zeros(len(encoding.group_token), GROUP_DTYPE)
    groups["token"], groups["seconds"] = encoding.group_token, encoding.group_seconds
    groups["bar"], groups["notes"] = encoding.group_bar, encoding.group_notes
    groups["opens_bar"] = encoding.group_opens_bar
    return groups


def id_dtype(tokenizer: Tokenizer) -> np.dtype:
    """The smallest of two integer types that holds every base id."""
    return np.dtype(np.uint16 if tokenizer.base_vocab_size <= 1 << 16 else np.uint32)


_worker: tuple[Tokenizer, Limits] | None = None  # one per worker process, made by the pool's initialiser


def _start_worker(tokenizer_json: str, limits: Limits) -> None:
    global _worker  # noqa: PLW0603 - the pool offers no other place for per-process state
    _worker = read_tokenizer(tokenizer_json), limits


def _encode_in_worker(path: Path) -> EncodedFile | str:
    assert _worker is not None
    return encode_file(path, *_worker)


def _encode_chunk(paths: Sequence[Path], tokenizer_json: str, limits: Limits) -> list[EncodedFile | str]:
    # Ray keeps its worker processes between tasks, and so the tokenizer.
    if _worker is None or _worker[1] != limits or _worker[0].to_json() != tokenizer_json:
        _start_worker(tokenizer_json, limits)
    return [_encode_in_worker(path) for path in paths]


def _encode_on_ray(
    paths: Sequence[Path], tokenizer: Tokenizer, workers: int | None, limits: Limits, progress: bool
) -> Iterator[EncodedFile | str]:
    """Chunks of files as Ray tasks, a bounded number at a time. The cluster's machines must see the files by `paths`.

    Joins the cluster that RAY_ADDRESS names, else starts one here for the time of the call.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("prepare.engine=ray needs Ray: pip install 'midifactory[ray]'") from error
    from tqdm import tqdm

    ours, on_sigterm = not ray.is_initialized(), signal.getsignal(signal.SIGTERM)
    if ours:
        # A cluster that is there already has its own number of workers.
        cpus = None if os.environ.get("RAY_ADDRESS") else workers or None
        ray.init(num_cpus=cpus, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    try:
        task: Any = ray.remote(max_retries=1)(_encode_chunk)
        state = ray.put(tokenizer.to_json())
        absolute = [path.absolute() for path in paths]
        chunks = iter([absolute[i : i + _FILES_PER_RAY_TASK] for i in range(0, len(paths), _FILES_PER_RAY_TASK)])
        running: deque[tuple[list[Path], Any]] = deque()
        most = 4 * int(ray.cluster_resources().get("CPU", 1))

        def submit(count: int) -> None:
            running.extend((chunk, task.remote(chunk, state, limits)) for chunk in itertools.islice(chunks, count))

        def results(chunk: list[Path], future: Any) -> list[EncodedFile | str]:
            try:
                return ray.get(future)
            except ray.exceptions.RayError as error:
                if len(chunk) == 1:
                    return [f"ended the process that read it ({type(error).__name__})"]
                # One of these ended its worker: alone, each answers for itself.
                return [result for path in chunk for result in results([path], task.remote([path], state, limits))]

        submit(most)
        with tqdm(total=len(paths), desc="tokenise (Ray)", unit="file", disable=not progress) as bar:
            while running:
                chunk, future = running.popleft()
                found = results(chunk, future)
                submit(1)
                # Arrays from Ray's shared memory are read-only views that keep it occupied.
                for result in found:
                    bar.update()
                    yield (
                        result
                        if isinstance(result, str)
                        else replace(result, ids=result.ids.copy(), groups=result.groups.copy())
                    )
    finally:
        if ours:
            ray.shutdown()
            # Ray leaves a handler behind that exits at once; a training that follows saves first.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_sigterm)
