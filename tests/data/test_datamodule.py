"""From a folder of hand-made files to batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from midifactory.data.datamodule import SPLITS, MidiDataModule, Segmentation
from midifactory.errors import UserError
from midifactory.music.corpora import Folder
from midifactory.music.score import save_score
from midifactory.tokens.augment import Augmentation
from schemes import tokenizer_of


@pytest.fixture
def asked(tokenizer):
    """The default tokenizer, asked to learn 40 merges."""
    return tokenizer_of("remi_plus", f"tokenizer.vocab_size={tokenizer.vocab_size + 40}")


class Same:
    """A corpus collected before, whatever has become of its files since."""

    def __init__(self, corpus):
        self.corpus = corpus

    def collect(self, progress=True):
        pieces = tuple(replace(piece, sha256="") for piece in self.corpus.pieces)
        return replace(self.corpus, pieces=pieces)


@pytest.fixture
def folder(tmp_path, score_from):
    """Ten pieces of eight bars, no two alike."""
    root = tmp_path / "midi"
    root.mkdir()
    for index in range(10):
        notes = [(beat, 1, 50 + (beat * (index + 1)) % 24, 80) for beat in range(32)]
        save_score(score_from([(index, notes)]), root / f"piece_{index}.mid")
    return root


def module(root, tmp_path, tokenizer, **changes):
    settings = {"batch_size": 3, "segment": Segmentation("bars", 2), "store_root": tmp_path / "stores"} | changes
    source = Folder(root, fractions=(0.6, 0.2, 0.2), workers=0)
    return MidiDataModule(source, tokenizer, "hand", progress=False, **settings)


def test_splits_are_by_piece_and_cover_everything(folder, tmp_path, tokenizer):
    data = module(folder, tmp_path, tokenizer)
    data.setup()
    pieces = {split: {segment.piece for segment in data.segments(split)} for split in SPLITS}
    assert {split: len(found) for split, found in pieces.items()} == {"train": 6, "validation": 2, "test": 2}
    assert len(set.union(*pieces.values())) == 10
    for split in SPLITS:
        assert pieces[split] == set(data.pieces(split))
        assert sum(map(len, data.segments(split))) == sum(data.store.pieces[p].tokens for p in pieces[split])


def test_loaders_hand_out_all_notes_of_their_split(folder, tmp_path, tokenizer):
    data = module(folder, tmp_path, tokenizer)
    data.setup()
    for split, loader in zip(SPLITS, (data.train_dataloader, data.val_dataloader, data.test_dataloader), strict=True):
        notes = sum(int(batch["notes"].sum()) for batch in loader())
        assert notes == 32 * len(data.pieces(split))


def test_the_report_gives_pieces_segments_and_refusals(folder, tmp_path, tokenizer, score_from):
    save_score(score_from([(0, [(beat, 1, 3, 80) for beat in range(4)])]), folder / "too_low.mid")
    data = module(folder, tmp_path, tokenizer)
    data.setup()
    report = "\n".join(data.report())
    for split in SPLITS:
        assert f"{split}: {len(data.pieces(split))} pieces, {len(data.segments(split))} segments" in report
    assert "1 pieces could not be tokenised" in report
    assert "too_low.mid: none of its 4 notes" in report
    assert "too_low.mid" not in [piece for split in SPLITS for piece in data.pieces(split)]


def test_the_longest_segment_is_within_max_tokens(folder, tmp_path, tokenizer):
    data = module(folder, tmp_path, tokenizer, max_tokens=24)
    data.setup()
    assert data.longest_segment == max(len(segment) for segment in data.segments("train")) <= 24
    assert all(batch["inputs"].shape[1] <= 23 for batch in data.train_dataloader())


def test_another_seed_is_another_order_of_the_same_segments(folder, tmp_path, tokenizer):
    plans = []
    for seed in (0, 0, 1):
        data = module(folder, tmp_path, tokenizer, seed=seed)
        data.setup()
        plans.append(data.plan("train").batches(0))
    assert plans[0] == plans[1] != plans[2]


def test_too_few_pieces_are_an_error(folder, tmp_path, tokenizer):
    for path in sorted(folder.iterdir())[2:]:
        path.unlink()
    with pytest.raises(UserError, match="2 pieces cannot fill"):
        module(folder, tmp_path, tokenizer).setup()


def test_a_split_without_segments_is_an_error_with_both_counts(folder, tmp_path, tokenizer):
    with pytest.raises(UserError, match="0 training and 0 validation"):
        module(folder, tmp_path, tokenizer, max_tokens=2).setup()


def test_an_impossible_batch_size_is_an_error_with_its_value(folder, tmp_path, tokenizer):
    with pytest.raises(UserError, match="batch_size=0"):
        module(folder, tmp_path, tokenizer, batch_size=0)


def test_merges_are_learnt_from_training_and_undone_exactly(folder, tmp_path, tokenizer, asked):
    data = module(folder, tmp_path, asked)
    data.setup()
    plain = module(folder, tmp_path, tokenizer)
    plain.setup()
    assert data.store.folder == plain.store.folder, "one store serves every vocabulary size"
    assert data.tokenizer.base_vocab_size == tokenizer.vocab_size < data.tokenizer.vocab_size
    assert data.longest_segment < plain.longest_segment
    dataset, expected = data.val_dataloader().dataset, plain.val_dataloader().dataset
    for index in range(len(expected)):
        ids, notes, _ = dataset[index]
        assert (data.tokenizer.to_base_ids(ids).tolist(), notes) == (expected[index][0].tolist(), expected[index][1])
    for piece in data.pieces("test"):
        assert data.tokenizer.to_base_ids(data.model_ids(piece)).tolist() == data.store.ids(piece).tolist()
    again = module(folder, tmp_path, asked)
    again.setup()
    assert again.tokenizer.fingerprint == data.tokenizer.fingerprint


def test_held_out_pieces_teach_no_merges(folder, tmp_path, asked, score_from):
    data = module(folder, tmp_path, asked)
    data.setup()
    for piece in [*data.pieces("validation"), *data.pieces("test")]:
        save_score(score_from([(0, [(beat / 2, 0.5, 90 + beat % 7, 40) for beat in range(60)])]), folder / piece)
    source = data.corpus
    changed = module(folder, tmp_path, asked)
    changed.source = Same(source)
    changed.setup()
    assert changed.store.folder != data.store.folder
    assert changed.tokenizer.fingerprint == data.tokenizer.fingerprint


def test_augmentation_moves_training_alone_and_anew_each_epoch(folder, tmp_path, tokenizer):
    augmented = module(folder, tmp_path, tokenizer, augment=Augmentation(semitones=5, velocity_steps=2))
    plain = module(folder, tmp_path, tokenizer)
    augmented.setup(), plain.setup()
    for split in ("val_dataloader", "test_dataloader"):
        pairs = zip(getattr(augmented, split)(), getattr(plain, split)(), strict=True)
        assert all(torch.equal(left["inputs"], right["inputs"]) for left, right in pairs)
    loader = augmented.train_dataloader()
    dataset, epochs = loader.dataset, 4
    versions = {tuple(dataset[epoch, 0][0]) for epoch in range(epochs)}
    assert len(versions) > 1
    assert [dataset[2, 0][0].tolist() for _ in range(2)] == [dataset[2, 0][0].tolist()] * 2
    original = plain.train_dataloader().dataset[0][0]
    types = [tokenizer.types[i] for i in original]
    for version in versions:
        assert [tokenizer.types[i] for i in version] == types
    with_worker = module(folder, tmp_path, tokenizer, augment=augmented.augmenter.settings, loader_workers=1)
    with_worker.setup()
    for left, right in zip(augmented.train_dataloader(), with_worker.train_dataloader(), strict=True):
        assert torch.equal(left["inputs"], right["inputs"])


def test_tracks_one_after_another_are_not_cut_by_seconds(folder, tmp_path):
    mmm = tokenizer_of("mmm")
    with pytest.raises(UserError, match=r"segment.unit=bars.* set data.segment.unit=tokens"):
        module(folder, tmp_path, mmm)
    data = module(folder, tmp_path, mmm, segment=Segmentation("tokens", 100))
    data.setup()
    assert data.longest_segment <= 100


def test_what_was_left_by_another_order_of_splits_is_learnt_anew(folder, tmp_path, asked):
    first = module(folder, tmp_path, asked)
    first.setup()
    second = module(folder, tmp_path, asked)
    second.source = Folder(folder, fractions=(0.6, 0.2, 0.2), seed=5, workers=0)
    second.setup()
    assert first.pieces("train") != second.pieces("train")
    assert len(list(first.store.folder.glob("bpe-*.json"))) == 2


@pytest.mark.parametrize("with_next", [True, False])
def test_with_the_next_token_every_token_of_a_piece_is_foretold_once(folder, tmp_path, tokenizer, with_next):
    data = module(folder, tmp_path, tokenizer, segment=Segmentation("bars", 1, with_next=with_next))
    data.setup()
    for piece in data.pieces("train"):
        ids, segments = data.model_ids(piece), data.segment_ids(piece)
        assert torch.equal(torch.from_numpy(np.concatenate([part[1:] for part in segments])), torch.tensor(ids[1:]))
    labels = sum(len(segment) - 1 for segment in data.segments("train"))
    tokens = sum(data.store.pieces[piece].tokens - 1 for piece in data.pieces("train"))
    left_out = len(data.segments("train")) - len(data.pieces("train"))
    assert labels == tokens - (0 if with_next else left_out)
    assert data.segment_settings == {"unit": "bars", "length": 1, "max_tokens": 1024, "align_to_bars": True}
