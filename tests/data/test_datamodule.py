"""From a folder of hand-made files to batches."""

import pytest

from midifactory.data.datamodule import SPLITS, MidiDataModule, Segmentation
from midifactory.errors import UserError
from midifactory.music.corpora import Folder
from midifactory.music.score import save_score


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
        module(folder, tmp_path, tokenizer, max_tokens=1).setup()


def test_an_impossible_batch_size_is_an_error_with_its_value(folder, tmp_path, tokenizer):
    with pytest.raises(UserError, match="batch_size=0"):
        module(folder, tmp_path, tokenizer, batch_size=0)
