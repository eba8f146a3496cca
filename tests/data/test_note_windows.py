"""From files to windows of scaled notes."""

from dataclasses import replace
from types import SimpleNamespace

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


@pytest.mark.parametrize(("inputs", "targets", "stride"), [(6, 3, 1), (1, 1, 1), (5, 4, 3), (20, 5, 7), (30, 40, 40)])
def test_windows_are_slices_of_one_piece(tmp_path, score_from, inputs, targets, stride):
    """Of a piece with so many rows of 0 before and after it that every window lies within."""
    files = [(path.name, path) for path in sorted(write(tmp_path / "midi", score_from).iterdir())]
    codec = NoteCodec(num_instruments=2)
    store = build_note_store(files, codec, tmp_path / "store", "hand", progress=False)
    pieces = {name: codec.features(load_score(path)) for name, path in files}
    scaler = Scaler.fit(pieces.values())
    windows = NoteWindows(store, list(pieces), scaler, inputs, targets, stride)
    expected = []
    for rows in pieces.values():
        silence = np.zeros((inputs + targets, 7))
        padded = np.concatenate([silence[:inputs], scaler.transform(rows), silence])
        expected += [padded[start : start + inputs + targets] for start in range(0, len(rows), stride)]
    assert len(windows) == len(expected)
    for window, rows in zip(windows, expected, strict=True):
        assert window.dtype == torch.float32
        np.testing.assert_array_equal(window.numpy(), rows.astype(np.float32))
    assert torch.equal(windows[(3, 1)], windows[1])  # an epoch and an index, as the loader asks
    with pytest.raises(IndexError):
        windows[len(expected)]


def test_a_stride_of_the_targets_foretells_each_note_once(tmp_path, score_from):
    files = [(path.name, path) for path in sorted(write(tmp_path / "midi", score_from).iterdir())]
    store = build_note_store(files, NoteCodec(num_instruments=2), tmp_path / "store", "hand", progress=False)
    names = list(store.pieces)
    scaler = Scaler.fit(store.features(name) for name in names)
    windows = NoteWindows(store, names, scaler, 6, 4, stride=4)
    targets = torch.cat([window[6:] for window in windows])
    notes = targets[targets[:, 5:].sum(1) > 0]
    due = np.concatenate([scaler.transform(store.features(name)) for name in names])
    np.testing.assert_array_equal(notes.numpy(), due.astype(np.float32))
    assert (targets[targets[:, 5:].sum(1) == 0] == 0).all()


def test_windows_refuse_lengths_below_one(tmp_path, score_from):
    path = tmp_path / "a.mid"
    save_score(score_from([(0, [(0, 1, 60, 80), (1, 1, 60, 80)])]), path)
    store = build_note_store([("a", path)], NoteCodec(), tmp_path / "store", "hand", progress=False)
    scaler = Scaler.fit([store.features("a")])
    for lengths, words in (((0, 1, 1), "length_i=0"), ((1, 0, 1), "length_o=0"), ((1, 1, 0), "stride=0")):
        with pytest.raises(UserError, match=words):
            NoteWindows(store, ["a"], scaler, *lengths)
    assert len(NoteWindows(store, ["a"], scaler, 1, 1)) == 2
    assert len(NoteWindows(store, [], scaler, 1, 1)) == 0


def rows_of(loader):
    """(S, T, F): all windows of a pass."""
    return torch.cat([batch["rows"] for batch in loader])


def test_batches_cover_their_split_once(tmp_path, score_from):
    data = module(write(tmp_path / "midi", score_from), tmp_path)
    data.setup()
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    for split, loader in zip(("train", "validation", "test"), loaders, strict=True):
        windows = data.windows(split)
        assert windows.stride == (1 if split == "train" else 3)
        read = rows_of(loader)
        assert read.shape[1:] == (9, 7)
        due = torch.stack([windows[index] for index in range(len(windows))])
        assert torch.equal(read, due) == (split != "train")
        assert sorted(map(str, read.flatten(1).tolist())) == sorted(map(str, due.flatten(1).tolist()))


def test_the_order_of_training_is_the_seeds_and_new_each_epoch(tmp_path, score_from):
    root = write(tmp_path / "midi", score_from)

    def two_epochs(seed):
        torch.seed()  # the global generator has no say
        data = module(root, tmp_path, seed=seed)
        data.setup()
        loader = data.train_dataloader()
        return [rows_of(loader) for _ in range(2)]

    first, second = two_epochs(1)
    again = two_epochs(1)
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(first, second)
    assert not torch.equal(first, two_epochs(2)[0])


def test_a_loader_goes_on_in_the_middle_of_an_epoch(tmp_path, score_from):
    data = module(write(tmp_path / "midi", score_from), tmp_path)
    data.setup()
    loader = data.train_dataloader()
    list(loader)
    batches = iter(loader)  # the second epoch
    for _ in range(5):
        next(batches)
    state, due = loader.state_dict(), [batch["rows"] for batch in batches]
    resumed = data.train_dataloader()
    resumed.load_state_dict(state)
    for first, second in zip(due, resumed, strict=True):
        assert torch.equal(first, second["rows"])


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
    assert not torch.equal(changed.windows("validation")[1], data.windows("validation")[1])
    write(root, score_from, stretch=[*others, data.pieces("train")[0]])
    moved = module(root, tmp_path)
    moved.setup()
    assert moved.scaler.to_dict() != data.scaler.to_dict()


def test_levels_are_of_the_training_pieces_alone(tmp_path, score_from):
    data = module(write(tmp_path / "midi", score_from), tmp_path, bins=16)
    data.setup()
    rows = np.concatenate([data.scaler.transform(data.store.features(piece)) for piece in data.pieces("train")])
    levels = data.levels()
    assert levels.shape == (4, 16)
    for level, column in zip(levels, (1, 2, 3, 4), strict=True):
        assert np.isin(level[np.isfinite(level)], rows[:, column]).all()


def test_the_report_tells_what_is_there_and_what_is_not(tmp_path, score_from):
    data = module(write(tmp_path / "midi", score_from), tmp_path, num_instruments=1)
    data.setup()
    report = data.report()
    for line, split in zip(report, ("train", "validation", "test"), strict=False):
        notes = [LENGTHS[int(piece[6])] for piece in data.pieces(split)]
        stride = 1 if split == "train" else 3
        windows = sum(-(-count // stride) for count in notes)
        assert line == f"{split}: {len(notes)} pieces, {sum(notes)} notes, {windows} windows of 6 + 3 notes"
    assert report[3] == (
        f"{sum(count // 2 for count in LENGTHS)} notes of further instruments are folded into the last one "
        "(tokenizer.num_instruments=1)"
    )
    assert report[4].startswith("scaled by: (pitch - 0) / 127, (duration_s - ")


def test_a_split_without_pieces_is_told(tmp_path, score_from):
    root = write(tmp_path / "midi", score_from)
    corpus = Folder(root, workers=0).collect(progress=False)
    corpus = replace(corpus, pieces=tuple(replace(piece, split="train") for piece in corpus.pieces))
    source = SimpleNamespace(collect=lambda progress: corpus)
    with pytest.raises(UserError, match="10 pieces give none for validation; add files, or set data"):
        NoteDataModule(source, NoteCodec(), "hand", 4, tmp_path / "stores", progress=False).setup()
    with pytest.raises(UserError, match="batch_size=0"):
        module(root, tmp_path, batch_size=0)


def test_batches_come_from_workers_too(tmp_path, score_from):
    data = module(write(tmp_path / "midi", score_from), tmp_path)
    data.setup()
    alone = rows_of(data.val_dataloader())
    data.loader_workers = 1
    assert torch.equal(rows_of(data.val_dataloader()), alone)
