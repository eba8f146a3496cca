"""The JSB chorales with JS Fakes (Peracha 2021) as further training pieces: a folder for experiment=jsb_chorales.

    python benchmarks/js_fakes.py FOLDER_WITH_Jsb16thSeparated.json FOLDER_OF_JS_FAKES NEW_FOLDER
    python train.py experiment=jsb_chorales data.root=NEW_FOLDER

The fakes come from a program that learnt from Bach, held-out chorales included, so whatever shares a passage with a
validation or test piece, in any key, is left out; so are files that are not four voices of one note at a time, and
those in which a voice leaves the range it has in the canonical training pieces. Validation and test stay as they are.
Prints how many files were left out and why, and, to judge the passages by, how many canonical training pieces have one.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from midifactory.djai import scan_midi_files
from midifactory.errors import UserError
from midifactory.files import replacing
from midifactory.music.score import UnreadableMidi, load_score
from midifactory.tokens.grid import VOICES, VoiceGrid

NAME = "Jsb16thSeparated.json"
# A long chord is no passage: so many of a run's steps must differ from the one before.
CHANGES = 3
_SILENT = -128


def voices_of(path: Path) -> np.ndarray:
    """(S, 4) MIDI pitches at each sixteenth from soprano to bass, -1 for silence. Raises ValueError with the reason."""
    try:
        score = load_score(path)
    except UnreadableMidi as error:
        raise ValueError("not readable") from error
    if len(score.tracks) != VOICES or any(track.is_drum for track in score.tracks):
        raise ValueError("not four voices")
    for track in score.tracks:
        notes = track.notes.numpy()
        order = np.argsort(notes["time"])
        if not len(order):
            raise ValueError("a voice is silent")
        if ((notes["time"] + notes["duration"])[order][:-1] > notes["time"][order][1:]).any():
            raise ValueError("a voice sings two notes at once")
    heights = [track.notes.numpy()["pitch"].mean() for track in score.tracks]
    return VoiceGrid(pitch_range=(0, 128)).cells(score)[:, np.argsort(heights)[::-1]]


def ranges(pieces: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest pitch of each voice, (4,) each."""
    cells = np.concatenate(list(pieces))
    return np.where(cells < 0, 128, cells).min(0), cells.max(0)


def passages(cells: np.ndarray, run: int) -> set[bytes]:
    """Each `run` steps of (S, 4) in which enough happens, as bytes that are equal for equal music in any key."""
    if len(cells) < run:
        return set()
    windows = np.lib.stride_tricks.sliding_window_view(cells, run, axis=0).transpose(0, 2, 1)  # (W, run, 4)
    windows = windows[(windows[:, 1:] != windows[:, :-1]).any(2).sum(1) >= CHANGES]
    relative = np.where(windows < 0, _SILENT, windows - windows.max((1, 2), keepdims=True)).astype(np.int8)
    return {window.tobytes() for window in relative}


def main() -> None:
    """Choose, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chorales", type=Path, help=f"the folder of {NAME}")
    parser.add_argument("fakes", type=Path, help="a folder of MIDI files, read with those below it")
    parser.add_argument("out", type=Path, help="the new folder")
    parser.add_argument("--run", type=int, default=16, help="steps that make a passage, 16 to a bar of 4/4")
    arguments = parser.parse_args()
    if arguments.run <= CHANGES:
        parser.error(f"--run {arguments.run}: give more than {CHANGES}")
    try:
        found = sorted(arguments.chorales.rglob(NAME))
        if not found:
            raise UserError(f"{arguments.chorales} holds no {NAME}; name the folder that does")
        if found[0].resolve().parent == arguments.out.resolve():
            raise UserError(f"{arguments.out} is the folder of the canonical pieces; name another")
        files = scan_midi_files(arguments.fakes)
    except UserError as error:
        parser.error(str(error))
    chorales = json.loads(found[0].read_text())
    pieces = {split: [np.array(piece) for piece in chorales[split]] for split in ("train", "valid", "test")}
    low, high = ranges(pieces["train"])
    held_out = set[bytes]().union(*(passages(piece, arguments.run) for piece in pieces["valid"] + pieces["test"]))
    shared = f"shares {arguments.run} or more steps with a held-out piece"

    left_out: Counter[str] = Counter()
    added = []
    for file in files:
        try:
            cells = voices_of(Path(file))
            lowest, highest = ranges([cells])
            if (lowest < low).any() or (highest > high).any():
                raise ValueError("a voice leaves its range")
            if not held_out.isdisjoint(passages(cells, arguments.run)):
                raise ValueError(shared)
        except ValueError as error:
            left_out[str(error)] += 1
            continue
        added.append(cells.tolist())
    own = sum(not held_out.isdisjoint(passages(piece, arguments.run)) for piece in pieces["train"])

    with replacing(arguments.out / NAME) as path:
        path.write_text(json.dumps(chorales | {"train": chorales["train"] + added}))
    print(f"{len(files)} files: {len(added)} added to {len(pieces['train'])} training pieces, in {arguments.out}")
    for reason, count in left_out.most_common():
        print(f"{count} left out: {reason}")
    print(f"{own} of the {len(pieces['train'])} canonical training pieces: {shared}")


if __name__ == "__main__":
    main()
