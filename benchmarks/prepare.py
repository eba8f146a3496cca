"""Preparing and loading a corpus: ours against MidiTok's own loops, on the same files, in turn.

    python benchmarks/prepare.py prepare FOLDER:300 FOLDER:100   # files to tokens, two processes each
    python benchmarks/prepare.py grow FOLDER:3000 FOLDER:1000    # all but ten files of these, then all, then again
    python benchmarks/prepare.py bad FOLDER:300                  # a tenth of the files broken: are the tokens the same?
    python benchmarks/prepare.py batches FOLDER:300              # tokens to batches, one process each
    python benchmarks/prepare.py memory FOLDER:300               # private memory at 1, 5 and 20 times the files

FOLDER:N takes the first N readable MIDI files below FOLDER. Each prints a Markdown table: medians over the pairs, and
the ratio pair by pair.
"""

import argparse
import contextlib
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

# Worker processes import this file too: what is heavy and only measured here is imported where it is used.
from midifactory.music.corpora import Corpus, Folder, Piece
from midifactory.paths import conf_dir

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from midifactory.data.datamodule import MidiDataModule
    from midifactory.tokens.tokenizer import Tokenizer


def default_tokenizer(name: str = "remi_plus") -> "Tokenizer":
    """A tokenizer of conf/tokenizer."""
    from hydra import compose, initialize_config_dir

    from midifactory.cli.building import build_tokenizer

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return build_tokenizer(compose("prepare", [f"tokenizer={name}"]).tokenizer)


def sample(argument: str) -> list[Path]:
    """The files that FOLDER:N names: kept by our scan, so that both sides read the same music."""
    folder, _, count = argument.rpartition(":")
    with contextlib.redirect_stderr(io.StringIO()):
        corpus = Folder(folder, duplicates="keep", near_duplicates="keep").collect(progress=False)
    return [piece.path for piece in corpus.pieces][: int(count)]


def copied(paths: list[Path], folder: Path) -> list[Path]:
    """The files in a folder of their own, under short names."""
    folder.mkdir(parents=True)
    return [Path(shutil.copy(path, folder / f"{index:04}.mid")) for index, path in enumerate(paths)]


def rows(pairs: int, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float, list[float]]:
    """Medians of both, and the sorted ratios theirs / ours, of `pairs` alternating runs after one of each."""
    ours(), theirs()
    times = [(ours(), theirs()) for _ in range(pairs)]
    return (
        statistics.median(one for one, _ in times),
        statistics.median(other for _, other in times),
        sorted(other / one for one, other in times),
    )


def bench_prepare(arguments: argparse.Namespace) -> None:
    """Scan, deduplicate, split, tokenise and write, against MidiTok's tokenize_dataset."""
    from midifactory.tokens.engines import Preparation
    from midifactory.tokens.store import build_store

    print(
        "| corpus | files | ours, s | MidiTok tokenize_dataset, s | ratio, median (min to max) |\n|---|---|---|---|---|"
    )
    tokenizer = default_tokenizer()
    for argument in arguments.corpora:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            paths = copied(sample(argument), root / "midi")

            def ours(root: Path = root) -> float:
                shutil.rmtree(root / "ours", ignore_errors=True)
                start = time.perf_counter()
                corpus = Folder(root / "midi", cache_root=root / "ours", duplicates="keep").collect(False)
                pieces = [(piece.id, piece.path) for piece in corpus.pieces]
                hashes = {piece.id: piece.sha256 for piece in corpus.pieces}
                store = build_store(
                    pieces, tokenizer, root / "ours", "bench", Preparation(), hashes=hashes, progress=False
                )
                assert len(store.pieces) == len(pieces)
                return time.perf_counter() - start

            def theirs(root: Path = root, paths: list[Path] = paths) -> float:
                shutil.rmtree(root / "theirs", ignore_errors=True)
                start = time.perf_counter()
                with contextlib.redirect_stderr(io.StringIO()):
                    tokenizer.miditok.tokenize_dataset(paths, root / "theirs", parallel_workers_size=2, verbose=False)
                return time.perf_counter() - start

            mine, peers, ratios = rows(arguments.pairs, ours, theirs)
            print(
                f"| {Path(argument.rpartition(':')[0]).name} | {len(paths)} | {mine:.1f} | {peers:.1f} "
                f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |",
                flush=True,
            )


def bench_grow(arguments: argparse.Namespace) -> None:
    """One collection that gets ten more files, ours alone: MidiTok's loop has no such thing."""
    from midifactory.tokens.engines import Preparation
    from midifactory.tokens.store import build_store

    print("| files | new among them | s |\n|---|---|---|")
    tokenizer = default_tokenizer()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        paths = copied([path for argument in arguments.corpora for path in sample(argument)], root / "midi")
        (root / "later").mkdir()
        for path in paths[5::10][:10]:
            path.replace(root / "later" / path.name)
        for new in (len(paths) - 10, 10, 0):
            if new == 10:
                for path in (root / "later").iterdir():
                    path.replace(root / "midi" / path.name)
            start = time.perf_counter()
            corpus = Folder(root / "midi", cache_root=root / "scans").collect(False)
            pieces = [(piece.id, piece.path) for piece in corpus.pieces]
            hashes = {piece.id: piece.sha256 for piece in corpus.pieces}
            build_store(pieces, tokenizer, root / "ours", "bench", Preparation(), hashes=hashes, progress=False)
            seconds = time.perf_counter() - start
            print(f"| {len(list((root / 'midi').iterdir())):,} | {new:,} | {seconds:.1f} |", flush=True)


def bench_bad(arguments: argparse.Namespace) -> None:
    """The same files with and without broken ones among them, prepared as the command does; bytes compared."""
    from midifactory.tokens.store import build_store

    print("| good files | bad files | refused | ids and groups byte for byte |\n|---|---|---|---|")
    tokenizer, generator = default_tokenizer(), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        good = copied(sample(arguments.corpora[0]), root / "clean")
        copied(good, root / "mixed")
        bad = len(good) // 9
        for index in range(bad):
            data = good[index].read_bytes()
            # Cut short, or its first bytes random: both are no MIDI file any more.
            broken = data[: len(data) // 3] if index % 2 else generator.bytes(14) + data[14:]
            (root / "mixed" / f"{index:04}_bad.mid").write_bytes(broken)
        stores, refused = [], 0
        for folder in ("clean", "mixed"):
            corpus = Folder(root / folder).collect(False)
            refused = len(corpus.rejected)
            pieces = [(piece.id, piece.path) for piece in corpus.pieces]
            stores.append(build_store(pieces, tokenizer, root / "stores", folder, progress=False).folder)
        same = all(
            (stores[0] / part).read_bytes() == (stores[1] / part).read_bytes() for part in ("ids.bin", "groups.bin")
        )
        print(f"| {len(good)} | {bad} | {refused} | {'equal' if same else 'DIFFERENT'} |")


class Given:
    """A corpus of `copies` times the same files, all but two for training."""

    def __init__(self, paths: list[Path], copies: int = 1):
        names = [(f"{copy}/{path.stem}", path) for copy in range(copies) for path in paths]
        held_out = {names[0][0]: "validation", names[1][0]: "test"}
        self.pieces = tuple(Piece(key, path, held_out.get(key, "train"), 1) for key, path in names)

    def collect(self, progress: bool = True) -> Corpus:
        """The corpus, nothing read."""
        return Corpus("bench", self.pieces, (), ())


def datamodule(paths: list[Path], root: Path, copies: int = 1) -> "MidiDataModule":
    """Segments of 512 tokens in batches of 16."""
    from midifactory.data.datamodule import MidiDataModule, Segmentation
    from midifactory.tokens.engines import Preparation

    data = MidiDataModule(
        Given(paths, copies),
        default_tokenizer(),
        "bench",
        segment=Segmentation("tokens", 512, align_to_bars=False),
        batch_size=16,
        max_tokens=512,
        store_root=root,
        preparation=Preparation(),
        progress=False,
    )
    data.setup()
    return data


def bench_batches(arguments: argparse.Namespace) -> None:
    """One epoch in the main process, against DatasetMIDI with DataCollator, tokenising on the fly and beforehand.

    DatasetMIDI gives one sample per file, cut at 512 tokens; only tokens that arrive in a batch are counted.
    """
    from miditok.pytorch_data import DataCollator, DatasetMIDI
    from torch.utils.data import DataLoader

    print("| loader | tokens | tokens/s |\n|---|---|---|")
    paths = sample(arguments.corpora[0])
    with tempfile.TemporaryDirectory() as name:
        data = datamodule(paths, Path(name))
        tokenizer = data.tokenizer
        collator = DataCollator(tokenizer.pad_id, copy_inputs_as_labels=True, shift_labels=True)

        def peer(before: bool) -> "DataLoader":
            with contextlib.redirect_stderr(io.StringIO()):
                dataset = DatasetMIDI(
                    paths, tokenizer.miditok, 512, tokenizer.bos_id, tokenizer.eos_id, pre_tokenize=before
                )
            return DataLoader(dataset, batch_size=16, shuffle=True, collate_fn=collator)

        loaders = {
            "ours": (data.train_dataloader(), "labels", 50),
            "MidiTok DatasetMIDI + DataCollator": (peer(False), "labels", 1),
            "the same, pre_tokenize=True (all tokens in memory)": (peer(True), "labels", 50),
        }
        rates: dict[str, list[float]] = {label: [] for label in loaders}
        counted = {}
        for _ in range(arguments.pairs):
            for label, (loader, key, epochs) in loaders.items():
                tokens, start = 0, time.perf_counter()
                for _ in range(epochs):
                    for batch in loader:
                        tokens += batch[key].numel()
                elapsed = time.perf_counter() - start
                real = sum(int((batch[key] != -100).sum()) for batch in loader)
                counted[label] = real
                rates[label].append(real * epochs / elapsed)
        for label, values in rates.items():
            print(f"| {label} | {counted[label]:,} | {statistics.median(values):,.0f} |")
        for label in list(rates)[1:]:
            ratios = sorted(mine / other for mine, other in zip(rates["ours"], rates[label], strict=True))
            print(f"ratio to {label}: {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})")


def private_memory_mib() -> float:
    """RssAnon of this process."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))) / 1024


def bench_memory(arguments: argparse.Namespace) -> None:
    """The store built by one process, and opened and read for an epoch by another, each fresh."""
    if arguments.copies:
        with contextlib.redirect_stderr(io.StringIO()):
            data = datamodule(sorted(Path(arguments.corpora[0]).iterdir()), Path(arguments.root), arguments.copies)
        built = private_memory_mib()
        tokens = sum(int((batch["labels"] != -100).sum()) for batch in data.train_dataloader())
        print(f"{tokens:,} {built:.0f} {private_memory_mib():.0f}")
        return
    print("| times the files | tokens an epoch | RssAnon after building it, MiB | once open | after an epoch |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        copied(sample(arguments.corpora[0]), Path(name, "midi"))
        for copies in (1, 5, 20):
            run = [sys.executable, __file__, "memory", f"{name}/midi", "--root", f"{name}/stores{copies}"]
            run += ["--copies", str(copies)]
            (_, built, _), (tokens, opened, read) = (
                subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()[-3:] for _ in range(2)
            )
            print(f"| {copies} | {tokens} | {built} | {opened} | {read} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prepare", "grow", "bad", "batches", "memory"])
    parser.add_argument("corpora", nargs="+", help="FOLDER:N")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--copies", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    measure = {
        "prepare": bench_prepare,
        "grow": bench_grow,
        "bad": bench_bad,
        "batches": bench_batches,
        "memory": bench_memory,
    }
    measure[arguments.what](arguments)


if __name__ == "__main__":
    main()
