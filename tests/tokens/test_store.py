"""A store is built once, whole or not at all, and says what the tokenizer says."""

import shutil

import numpy as np
import pytest

from midifactory.errors import UserError
from midifactory.music.score import load_score, save_score
from midifactory.tokens import store as store_module
from midifactory.tokens.store import TokenStore, build_store


def build(pieces, tokenizer, root, workers=1):
    return build_store(pieces, tokenizer, root, "hand", workers=workers, progress=False)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_ids_and_groups_are_those_of_a_direct_encoding(store, midi_files, tokenizer):
    assert list(store.pieces) == [name for name, _ in midi_files]
    for name, path in midi_files:
        score = load_score(path)
        encoding, piece = tokenizer.encode(score), store.pieces[name]
        np.testing.assert_array_equal(store.ids(name), encoding.ids)
        groups = store.groups(name)
        np.testing.assert_array_equal(groups["token"], encoding.group_token)
        np.testing.assert_array_equal(groups["seconds"], encoding.group_seconds)
        np.testing.assert_array_equal(groups["bar"], encoding.group_bar)
        np.testing.assert_array_equal(groups["notes"], encoding.group_notes)
        np.testing.assert_array_equal(groups["opens_bar"], encoding.group_opens_bar)
        assert (piece.source_notes, piece.notes) == (score.note_num(), encoding.notes)


def test_the_store_is_read_through_a_map_in_two_bytes_an_id(store):
    assert isinstance(store._ids, np.memmap)
    assert isinstance(store._groups, np.memmap)
    assert store._ids.dtype == np.uint16
    assert (store.folder / "ids.bin").stat().st_size == 2 * sum(piece.tokens for piece in store.pieces.values())


def test_a_store_brings_its_tokenizer(store, tokenizer):
    assert TokenStore(store.folder).tokenizer.fingerprint == tokenizer.fingerprint


def test_a_second_build_only_reads(midi_files, tokenizer, tmp_path, monkeypatch):
    first = build(midi_files[:2], tokenizer, tmp_path)

    def refuse(*_):
        raise AssertionError("encoded again")

    monkeypatch.setattr(store_module, "_encode_file", refuse)
    second = build(midi_files[:2], tokenizer, tmp_path)
    assert second.folder == first.folder
    np.testing.assert_array_equal(second.ids(midi_files[0][0]), first.ids(midi_files[0][0]))


def test_a_changed_file_is_a_new_build(midi_files, tokenizer, tmp_path, hand_scores):
    pieces = [(name, shutil.copy(path, tmp_path / path.name)) for name, path in midi_files[:2]]
    first = build(pieces, tokenizer, tmp_path / "stores")
    save_score(hand_scores["tempos"], pieces[0][1])
    second = build(pieces, tokenizer, tmp_path / "stores")
    assert second.folder != first.folder
    np.testing.assert_array_equal(second.ids(pieces[0][0]), tokenizer.encode(hand_scores["tempos"]).ids)


def test_an_interrupted_build_leaves_nothing_and_the_next_one_succeeds(midi_files, tokenizer, tmp_path, monkeypatch):
    encode, calls = store_module._encode_file, []

    def interrupted(path, tokenizer):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(path, tokenizer)

    monkeypatch.setattr(store_module, "_encode_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(midi_files, tokenizer, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(build(midi_files, tokenizer, tmp_path).pieces) == len(midi_files)


def test_what_a_killed_process_left_is_not_read(midi_files, tokenizer, tmp_path):
    """Without its index, written last, a folder is no build, whatever its name."""
    whole = build(midi_files[:2], tokenizer, tmp_path)
    expected = contents(whole.folder)
    (whole.folder / "pieces.json").unlink()
    (whole.folder / "ids.bin").write_bytes(b"half")
    assert contents(build(midi_files[:2], tokenizer, tmp_path).folder) == expected


def test_a_refused_piece_is_recorded_with_its_reason(midi_files, tokenizer, tmp_path, score_from):
    save_score(score_from([(0, [(0, 1, 3, 80)])]), tmp_path / "low.mid")
    (tmp_path / "broken.mid").write_bytes(b"MThd nothing")
    pieces = [*midi_files[:1], ("low", tmp_path / "low.mid"), ("broken", tmp_path / "broken.mid")]
    built = build(pieces, tokenizer, tmp_path / "stores")
    assert list(built.pieces) == [midi_files[0][0]]
    assert set(built.refused) == {"low", "broken"}
    assert "pitch" in built.refused["low"]
    assert "valid MIDI" in built.refused["broken"]


def test_nothing_but_refused_pieces_is_an_error_that_gives_a_reason(tokenizer, tmp_path):
    (tmp_path / "broken.mid").write_bytes(b"MThd nothing")
    with pytest.raises(UserError, match=r"none of 1 pieces .*valid MIDI"):
        build([("broken", tmp_path / "broken.mid")], tokenizer, tmp_path / "stores")
    assert list((tmp_path / "stores").iterdir()) == []


def test_two_workers_write_the_same_bytes_as_one(store, midi_files, tokenizer, tmp_path):
    assert contents(build(midi_files, tokenizer, tmp_path, workers=2).folder) == contents(store.folder)


def test_the_order_of_the_pieces_does_not_matter(store, midi_files, tokenizer, tmp_path):
    assert contents(build(midi_files[::-1], tokenizer, tmp_path).folder) == contents(store.folder)
