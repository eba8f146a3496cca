"""From files to windows of scaled notes."""

import numpy as np
import pytest
import torch

from midifactory.data.notes import NoteDataModule, NoteWindows
from midifactory.errors import UserError
from midifactory.music.corpora import Folder
from midifactory.music.score import load_score, save_score
from midifactory.tokens.notes import NoteCodec, Scaler, build_note_store

LENGTHS = (25, 30, 9, 41, 33, 8, 27, 60, 10, 22)


def write(root, make, stretch=()):
    """Ten pieces with LENGTHS notes, each unlike the others; those named in `stretch` slower by half and higher."""
    root.mkdir(exist_ok=True)
    for index, count in enumerate(LENGTHS):
        slow = 1.5 if f"piece_{index}.mid" in stretch else 1.0
        notes = [
            (slow * (beat + index / 8), slow * (1 + index) / 4, 50 + (beat * (index + 1)) % 24 + (slow > 1), 60 + index)
            for beat in range(count)
        ]
        save_score(make([(0, notes[::2]), (33, notes[1::2])]), root / f"piece_{index}.mid")
    return root


def module(root, tmp_path, batch_size=4, seed=0, **codec):
    source = Folder(root, fractions=(0.6, 0.2, 0.2), workers=0)
    settings = {"num_instruments": 2, "sequence_length_i": 6, "sequence_length_o": 3} | codec
    return NoteDataModule(
        source, NoteCodec(**settings), "hand", batch_size, tmp_path / "stores", seed=seed, progress=False
    )


@pytest.mark.parametrize(("inputs", "targets", "stride"), [(6, 3, 1), (1, 1, 1), (5, 4, 3), (20, 5, 7)])
def test_windows_are_slices_of_one_piece(tmp_path, score_from, inputs, targets, stride):
    files = [(path.name, path) for path in sorted(write(tmp_path / "midi", score_from).iterdir())]
    codec = NoteCodec(num_instruments=2)
    store = build_note_store(files, codec, tmp_path / "store", "hand", progress=False)
    pieces = {name: codec.features(load_score(path)) for name, path in files}
    scaler = Scaler.fit(pieces.values())
    windows = NoteWindows(store, list(pieces), scaler, inputs, targets, stride)
    expected = [
        scaler.transform(rows[start : start + inputs + targets]).astype(np.float32)
        for rows in pieces.values()
        for start in range(0, len(rows) - inputs - targets + 1, stride)
    ]
    assert len(windows) == len(expected)
    assert windows.too_short == sum(len(rows) < inputs + targets for rows in pieces.values())
    for (first, second), rows in zip(windows, expected, strict=True):
        assert first.dtype == second.dtype == torch.float32
        assert (first.shape, second.shape) == ((inputs, 7), (targets, 7))
        np.testing.assert_array_equal(torch.cat([first, second]).numpy(), rows)
    with pytest.raises(IndexError):
        windows[len(expected)]


def test_windows_refuse_lengths_below_one(tmp_path, score_from):
    path = tmp_path / "a.mid"
    save_score(score_from([(0, [(0, 1, 60, 80), (1, 1, 60, 80)])]), path)
    store = build_note_store([("a", path)], NoteCodec(), tmp_path / "store", "hand", progress=False)
    scaler = Scaler.fit([store.features("a")])
    for lengths, words in (((0, 1, 1), "length_i=0"), ((1, 0, 1), "length_o=0"), ((1, 1, 0), "stride=0")):
        with pytest.raises(UserError, match=words):
            NoteWindows(store, ["a"], scaler, *lengths)
    assert len(NoteWindows(store, ["a"], scaler, 1, 1)) == 1
    assert len(NoteWindows(store, [], scaler, 1, 1)) == 0


def test_batches_cover_their_split_once(tmp_path, score_from):
    data = module(write(tmp_path / "midi", score_from), tmp_path)
    data.setup()
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    for split, loader in zip(("train", "validation", "test"), loaders, strict=True):
        windows = data.windows(split)
        batches = list(loader)
        assert batches[0][0].shape == (4, 6, 7)
        assert batches[0][1].shape == (4, 3, 7)
        read = torch.cat([inputs for inputs, _ in batches])
        due = torch.stack([windows[index][0] for index in range(len(windows))])
        assert torch.equal(read, due) == (split != "train")
        assert sorted(map(str, read.flatten(1).tolist())) == sorted(map(str, due.flatten(1).tolist()))


def test_the_order_of_training_is_the_seeds_and_new_each_epoch(tmp_path, score_from):
    root = write(tmp_path / "midi", score_from)

    def two_epochs(seed):
        torch.seed()  # the global generator has no say
        data = module(root, tmp_path, seed=seed)
        data.setup()
        loader = data.train_dataloader()
        return [torch.cat([inputs for inputs, _ in loader]) for _ in range(2)]

    first, second = two_epochs(1)
    again = two_epochs(1)
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(first, second)
    assert not torch.equal(first, two_epochs(2)[0])


def test_only_training_pieces_set_the_scaling(tmp_path, score_from):
    """Slower and higher validation and test pieces change their own windows, and nothing in the scaler."""
    root = write(tmp_path / "midi", score_from)
    data = module(root, tmp_path)
    data.setup()
    others = data.pieces("validation") + data.pieces("test")
    assert len(others) == 4
    write(root, score_from, stretch=others)
    changed = module(root, tmp_path)
    changed.setup()
    assert changed.pieces("validation") + changed.pieces("test") == others
    assert changed.scaler.to_dict() == data.scaler.to_dict()
    assert not torch.equal(changed.windows("validation")[0][0], data.windows("validation")[0][0])
    write(root, score_from, stretch=[*others, data.pieces("train")[0]])
    moved = module(root, tmp_path)
    moved.setup()
    assert moved.scaler.to_dict() != data.scaler.to_dict()


def test_the_report_tells_what_is_there_and_what_is_not(tmp_path, score_from):
    data = module(write(tmp_path / "midi", score_from), tmp_path, num_instruments=1)
    data.setup()
    report = data.report()
    for line, split in zip(report, ("train", "validation", "test"), strict=False):
        notes = [LENGTHS[int(piece[6])] for piece in data.pieces(split)]
        windows = sum(max(0, count - 8) for count in notes)
        short = sum(count < 9 for count in notes)
        assert line == (
            f"{split}: {len(notes)} pieces, {sum(notes)} notes, {windows} windows of 6 + 3 notes, "
            f"{short} pieces with fewer than 9 left out"
        )
    assert sum(len(data.windows(split)) for split in ("train", "validation", "test")) == sum(n - 8 for n in LENGTHS)
    assert report[3] == (
        f"{sum(count // 2 for count in LENGTHS)} notes of further instruments are folded into the last one "
        "(tokenizer.num_instruments=1)"
    )
    assert report[4].startswith("scaled by: (pitch - 0) / 127, (duration_s - ")


def test_no_piece_long_enough_is_told_with_the_numbers(tmp_path, score_from):
    data = module(write(tmp_path / "midi", score_from), tmp_path, sequence_length_i=50, sequence_length_o=30)
    with pytest.raises(UserError, match=r"longest of 6 train pieces has \d+ notes, a window takes 50 \+ 30"):
        data.setup()
    with pytest.raises(UserError, match="batch_size=0"):
        module(tmp_path / "midi", tmp_path, batch_size=0)


def test_batches_come_from_workers_too(tmp_path, score_from):
    data = module(write(tmp_path / "midi", score_from), tmp_path)
    data.setup()
    alone = list(data.val_dataloader())
    data.loader_workers = 1
    for (first, second), (inputs, targets) in zip(data.val_dataloader(), alone, strict=True):
        assert torch.equal(first, inputs)
        assert torch.equal(second, targets)
