"""Training segments are rearranged by seed, epoch and index alone, and nothing changes where it is off."""

from itertools import islice

import numpy as np
import pytest

from midifactory.data.batches import BatchPlan, SegmentDataset, SegmentLoader
from midifactory.data.infilling import Infilling, check_share
from midifactory.data.segments import SegmentCount, cut_segments
from midifactory.errors import UserError
from midifactory.tokens.augment import Augmentation, Augmenter
from midifactory.tokens.engines import Preparation
from midifactory.tokens.store import build_store
from schemes import tokenizer_of

LONGEST = 400


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizer_of("remi_plus").with_infill()


@pytest.fixture(scope="module")
def store(midi_files, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("infill_store")
    return build_store(midi_files, tokenizer, folder, "hand", Preparation(workers=0), progress=False)


def dataset(store, tokenizer, share=0.5, seed=0, augment=0):
    segments = []
    for piece in store.pieces.values():
        groups = store.groups(piece.id)
        segments += cut_segments(piece.id, groups, piece.tokens, piece.notes, "bars", 8, LONGEST, SegmentCount())
    augmenter = Augmenter(tokenizer, Augmentation(semitones=augment)) if augment else None
    infilling = Infilling(tokenizer, share, LONGEST) if share else None
    return SegmentDataset(store, segments, tokenizer, augmenter, seed, infilling=infilling)


def is_rearranged(tokenizer, ids) -> bool:
    return tokenizer.tokens.index("Infill_None") in ids.tolist()


def test_the_same_seed_epoch_and_segment_give_the_same_row(store, tokenizer):
    one, two, other = (dataset(store, tokenizer, seed=seed) for seed in (0, 0, 1))
    keys = [(epoch, index) for epoch in range(4) for index in range(len(one))]
    rows = [one[key][0] for key in keys]
    backwards = [two[key][0] for key in reversed(keys)]
    assert all(np.array_equal(row, again) for row, again in zip(rows, reversed(backwards), strict=True))
    assert any(not np.array_equal(row, other[key][0]) for row, key in zip(rows, keys, strict=True))
    assert any(not np.array_equal(one[0, index][0], one[1, index][0]) for index in range(len(one)))


def test_about_the_share_is_rearranged_and_the_rest_is_as_without(store, tokenizer):
    plain, half, augmented, both = (
        dataset(store, tokenizer, share, augment=semitones) for share, semitones in ((0, 0), (0.5, 0), (0, 5), (0.5, 5))
    )
    moved = total = 0
    for epoch in range(40):
        for index in range(len(plain)):
            for without, with_infill in ((plain, half), (augmented, both)):
                row, notes, _ = with_infill[epoch, index]
                if is_rearranged(tokenizer, row):
                    moved += 1
                    assert notes == sum(tokenizer.types[i].startswith("Pitch") for i in row)
                else:
                    assert np.array_equal(row, without[epoch, index][0])
                total += 1
    assert 0.35 < moved / total < 0.55, "a few have nothing that could be taken"


def test_rows_are_never_longer_than_a_segment_may_be(store, tokenizer):
    rows = dataset(store, tokenizer, 1.0)
    longest = max(len(rows[epoch, index][0]) for epoch in range(20) for index in range(len(rows)))
    assert LONGEST / 2 < longest <= LONGEST


def test_a_loader_goes_on_with_the_very_rows_that_it_would_have_had(store, tokenizer):
    def loader(workers=0):
        data = dataset(store, tokenizer, 0.5, augment=3)
        return SegmentLoader(data, BatchPlan([len(s) for s in data.segments], 2, 3, True), tokenizer.pad_id, workers)

    whole = list(loader())
    first = loader()
    begun = list(islice(iter(first), 2))
    resumed = loader(workers=1)
    resumed.load_state_dict(first.state_dict())
    for one, other in zip(whole, [*begun, *resumed], strict=True):
        assert all(np.array_equal(one[key], other[key]) for key in one)
    fill = tokenizer.tokens.index("Fill_None")
    assert any((batch["inputs"] == fill).any() for batch in whole)


def test_every_kind_of_region_comes(store, tokenizer):
    rows = Infilling(tokenizer, 1.0, LONGEST)
    generator = np.random.default_rng(0)
    voices = rows.rows.read(store.ids("four_voices"))
    kinds = set()
    for _ in range(200):
        split = rows.choose(voices, generator)
        if split is not None:
            kinds.add((len(split.programs), split.gap == (0, voices.bars)))
    assert {(4, False), (1, True), (1, False), (3, True), (2, False)} <= kinds
    piano = rows.rows.read(store.ids("piano_chords"))
    melodies = set()
    for _ in range(200):
        split = rows.choose(piano, generator)
        if split is None or split.gap != (0, piano.bars):
            continue
        taken = {(e.bar, e.offset_ticks, e.pitch) for e in split.taken if e.is_note}
        kept = {(e.bar, e.offset_ticks, e.pitch) for e in split.kept if e.is_note}
        tops = {
            place: max(p for *at, p in taken | kept if tuple(at) == place) for place in {n[:2] for n in taken | kept}
        }
        melody = {(*place, pitch) for place, pitch in tops.items()}
        assert melody in (taken, kept)
        melodies.add(melody == kept)
        assert not any(event.program is not None and not event.is_note for event in split.kept), (
            "no chord tells what lacks"
        )
    assert melodies == {True, False}


@pytest.mark.parametrize("share", [-0.1, 1.5, "half", True])
def test_a_share_that_is_none_is_refused(tokenizer, share):
    with pytest.raises(UserError, match=r"data.infill=.*: give a share of the training segments"):
        check_share(share, tokenizer)


@pytest.mark.parametrize("name", ["tsd", "mmm", "voice_grid"])
def test_tokenizers_without_bars_are_refused_with_the_reason(name):
    with pytest.raises(UserError, match=r"data.infill=0.5: .* does not tell bars .*; set tokenizer=remi_plus"):
        check_share(0.5, tokenizer_of(name))
    check_share(0, tokenizer_of(name))
