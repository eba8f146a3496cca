"""Labels are the inputs' successors, every segment comes once an epoch, and a loader goes on where it stopped."""

import pickle
import subprocess
import sys
from collections import Counter
from itertools import chain, islice

import numpy as np
import pytest
import torch

from midifactory.data.batches import IGNORED, BatchPlan, SegmentDataset, SegmentLoader, collate
from midifactory.data.segments import SegmentCount, cut_segments
from midifactory.errors import UserError


@pytest.fixture(scope="module")
def dataset(store):
    segments = []
    for piece in store.pieces.values():
        segments += cut_segments(
            piece.id, store.groups(piece.id), piece.tokens, piece.notes, "seconds", 1.5, 1000, SegmentCount()
        )
    return SegmentDataset(store, segments)


def loader(dataset, workers=0, batch_size=4):
    plan = BatchPlan([len(segment) for segment in dataset.segments], batch_size, seed=3, shuffle=True)
    return SegmentLoader(dataset, plan, pad_id=0, workers=workers)


def assert_same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in ("inputs", "labels", "notes"))


def test_labels_are_the_next_inputs_and_padding_stands_at_the_end():
    told = np.array([[3, 0], [1, 2]])
    rows = [(np.array([5, 6, 7, 8, 9]), 2, told[0]), (np.array([3, 4, 5]), 1, told[1])]
    batch = collate(0, rows)
    assert batch["inputs"].tolist() == [[5, 6, 7, 8], [3, 4, 0, 0]]
    assert batch["labels"].tolist() == [[6, 7, 8, 9], [4, 5, IGNORED, IGNORED]]
    assert batch["notes"].tolist() == [2, 1]
    assert batch["conditions"].tolist() == [[3, 0], [1, 2]]


def test_batches_of_real_pieces_shift_by_one_and_count_their_notes(dataset, tokenizer):
    plan = loader(dataset).plan
    for indices, batch in zip(plan.batches(0), loader(dataset), strict=True):
        inputs, labels = batch["inputs"], batch["labels"]
        real = labels != IGNORED
        inside = real[:, 1:]
        assert torch.equal(labels[:, :-1][inside], inputs[:, 1:][inside])
        assert not (real[:, 1:] & ~real[:, :-1]).any(), "a real token after padding"
        for row, index in enumerate(indices):
            ids, notes, _ = dataset[index]
            joined = [*inputs[row, : len(ids) - 1].tolist(), labels[row, len(ids) - 2].item()]
            assert joined == ids.tolist()
            types = [tokenizer.types[i] for i in ids]
            assert batch["notes"][row] == notes == types.count("Duration")


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("count", "size"), [(1, 4), (7, 4), (203, 4), (64, 1)])
def test_an_epoch_has_every_segment_once(count, size, shuffle):
    lengths = np.random.default_rng(0).integers(2, 90, count)
    for epoch in range(3):
        batches = BatchPlan(lengths, size, seed=1, shuffle=shuffle).batches(epoch)
        assert Counter(index for batch in batches for index in batch) == Counter(range(count))
        assert max(map(len, batches)) <= size
        assert len(batches) == -(-count // size)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("count", "size", "processes"), [(2, 4, 2), (96, 3, 2), (203, 4, 3), (97, 3, 4), (65, 1, 4)])
def test_processes_share_each_large_batch(count, size, processes, shuffle):
    """Side by side they are one process with the large batch, but for a last one with fewer rows than processes."""
    lengths = np.random.default_rng(0).integers(2, 90, count)
    plans = [BatchPlan(lengths, size, 1, shuffle, processes, rank) for rank in range(processes)]
    large = BatchPlan(lengths, size * processes, 1, shuffle)
    for epoch in range(2):
        shares = [plan.batches(epoch) for plan in plans]
        assert {len(share) for share in shares} == {len(plan) for plan in plans} == {len(shares[0])}
        together = [sorted(chain(*parts)) for parts in zip(*shares, strict=True)]
        assert Counter(chain(*together)) == Counter(range(count))
        assert all(1 <= len(batch) <= size + 1 for share in shares for batch in share)
        if count % (size * processes) >= processes or count % (size * processes) == 0:
            assert together == [sorted(batch) for batch in large.batches(epoch)]
        for parts in zip(*shares, strict=True):  # of like length, so that none waits
            assert np.ptp([lengths[part].sum() for part in parts]) <= 2 * lengths[list(chain(*parts))].max()


def test_fewer_segments_than_processes_are_told():
    with pytest.raises(UserError, match="3 segments cannot be shared by 4 processes"):
        BatchPlan([5, 6, 7], 8, 1, True, 4, 0)


def test_a_loader_of_other_batches_is_not_continued_in_the_middle(dataset):
    first, other = loader(dataset), loader(dataset, batch_size=2)
    next(iter(first))
    with pytest.raises(UserError, match="batches of 4 rows shared by 1 processes, not of 2 by 1"):
        other.load_state_dict(first.state_dict())
    # Of 9 rows, two processes join the last one to the second batch of 4.
    assert (len(BatchPlan(range(9), 4, 0, True)), len(BatchPlan(range(9), 2, 0, True, 2, 0))) == (3, 2)
    shared = SegmentLoader(dataset, BatchPlan(first.plan.lengths, 2, first.plan.seed, True, 2, 0), 0, 0)
    with pytest.raises(UserError, match="not of 4 by 2"):
        shared.load_state_dict(first.state_dict())
    list(first)
    other.load_state_dict(first.state_dict())


def test_the_plan_is_a_function_of_seed_and_epoch():
    lengths = np.random.default_rng(0).integers(2, 90, 203)
    plan, again, other = (BatchPlan(lengths, 4, seed, shuffle=True) for seed in (1, 1, 2))
    assert plan.batches(5) == again.batches(5)
    assert plan.batches(5) != plan.batches(6)
    assert plan.batches(5) != other.batches(5)
    fixed = BatchPlan(lengths, 4, 1, shuffle=False)
    assert fixed.batches(0) == fixed.batches(9)


def test_batches_of_like_lengths_pad_less_than_batches_by_chance():
    lengths = np.random.default_rng(0).integers(2, 90, 400)

    def padding(batches):
        return sum(max(lengths[batch]) * len(batch) - lengths[batch].sum() for batch in batches)

    chance = np.random.default_rng(1).permutation(400).reshape(-1, 4).tolist()
    assert padding(BatchPlan(lengths, 4, 1, shuffle=True).batches(0)) < padding(chance) / 3


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_each_pass_takes_the_next_epochs_order(dataset, workers):
    working = loader(dataset, workers)
    for epoch in range(2):
        expected = [working.collate(batch) for batch in working.plan.batches(epoch)]
        assert_same(list(working), expected)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [1, 3])
def test_a_restored_loader_hands_out_exactly_the_rest(dataset, workers, done):
    """Stopped in its second epoch after `done` batches, with more of them already fetched by the workers."""
    first = loader(dataset, workers)
    list(first)
    begun = iter(first)
    for _ in range(done):
        next(begun)
    state = first.state_dict()
    expected = list(begun)
    second = loader(dataset, workers)
    second.load_state_dict(state)
    assert_same(list(second), expected)
    assert_same([next(iter(second))], [second.collate(second.plan.batches(2)[0])])


def test_a_loader_restored_at_the_end_of_an_epoch_begins_the_next(dataset):
    first = loader(dataset)
    list(first)
    second = loader(dataset)
    second.load_state_dict(first.state_dict())
    assert_same(list(second), [second.collate(batch) for batch in second.plan.batches(1)])


def test_a_shortened_pass_that_was_finished_leads_to_the_next_epoch(dataset):
    """Lightning's limit_train_batches takes fewer batches than there are; a resumed run must not take the rest."""
    undisturbed, stopped, resumed = loader(dataset), loader(dataset), loader(dataset)
    for each in (undisturbed, stopped, resumed):
        each.pass_length = 3
    passes = [list(islice(undisturbed, 3)) for _ in range(2)]
    list(islice(stopped, 3))
    resumed.load_state_dict(stopped.state_dict())
    assert_same(list(islice(resumed, 3)), passes[1])


def test_spawned_workers_can_be_sent_a_loaders_parts(dataset):
    made = loader(dataset)
    again, collate_fn = pickle.loads(pickle.dumps((made.dataset, made.collate_fn)))
    for key in ("inputs", "labels"):
        expected = made.collate([0, 1])[key]
        assert torch.equal(collate_fn([again[0], again[1]])[key], expected)
    assert isinstance(again._ids, np.memmap)


ENDING = """
import sys
import numpy as np
from torch.utils.data import Dataset
from midifactory.data.batches import BatchPlan, SegmentLoader

class Rows(Dataset):
    def __getitem__(self, key):
        return np.arange(4), 1, np.zeros(0, dtype=np.int64)

loader = SegmentLoader(Rows(), BatchPlan(np.full(8, 4), 2, 0, shuffle=False), 0, workers=2)
next(iter(loader))
sys.exit(3)
"""


def test_a_process_that_ends_does_not_wait_for_its_workers():
    """They take no notice of the first SIGTERM, which is all that multiprocessing sends before it waits."""
    ended = subprocess.run([sys.executable, "-c", ENDING], timeout=100, check=False)
    assert ended.returncode == 3
