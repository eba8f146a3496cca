"""A store is built once, whole or not at all, and says what the tokenizer says."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from midifactory.errors import UserError
from midifactory.music.score import Limits, load_score, save_score
from midifactory.tokens import engines
from midifactory.tokens import store as store_module
from midifactory.tokens.engines import Preparation
from midifactory.tokens.store import TokenStore, build_store


def build(pieces, tokenizer, root, preparation=Preparation(workers=0), **settings):  # noqa: B008 - frozen
    return build_store(pieces, tokenizer, root, "hand", preparation, progress=False, **settings)


@pytest.fixture
def encoded(monkeypatch):
    """The names of the files that are encoded in this process."""
    encode, calls = engines.encode_file, []

    def recording(path, *rest):
        calls.append(path.name)
        return encode(path, *rest)

    monkeypatch.setattr(engines, "encode_file", recording)
    return calls


def left_in(folder):
    """What is in a folder beside the locks, which stay for whoever waits for them."""
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


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
    assert isinstance(store.all_ids, np.memmap)
    assert isinstance(store._groups, np.memmap)
    assert store.all_ids.dtype == np.uint16
    assert (store.folder / "ids.bin").stat().st_size == 2 * sum(piece.tokens for piece in store.pieces.values())


def test_a_store_brings_its_tokenizer(store, tokenizer):
    assert TokenStore(store.folder).tokenizer.fingerprint == tokenizer.fingerprint


def test_a_second_build_only_reads(midi_files, tokenizer, tmp_path, encoded):
    first = build(midi_files[:2], tokenizer, tmp_path)
    assert len(encoded) == 2
    second = build(midi_files[:2], tokenizer, tmp_path)
    assert len(encoded) == 2
    assert second.folder == first.folder
    np.testing.assert_array_equal(second.ids(midi_files[0][0]), first.ids(midi_files[0][0]))


def test_more_files_cost_only_themselves_and_give_the_bytes_of_a_fresh_build(
    store, midi_files, tokenizer, tmp_path, encoded
):
    build(midi_files[1::2], tokenizer, tmp_path)
    del encoded[:]
    grown = build(midi_files, tokenizer, tmp_path)
    assert encoded == [path.name for _, path in midi_files[::2]]
    assert contents(grown.folder) == contents(store.folder)


def test_a_changed_file_is_a_new_build(midi_files, tokenizer, tmp_path, hand_scores):
    pieces = [(name, shutil.copy(path, tmp_path / path.name)) for name, path in midi_files[:2]]
    first = build(pieces, tokenizer, tmp_path / "stores")
    save_score(hand_scores["tempos"], pieces[0][1])
    second = build(pieces, tokenizer, tmp_path / "stores")
    assert second.folder != first.folder
    np.testing.assert_array_equal(second.ids(pieces[0][0]), tokenizer.encode(hand_scores["tempos"]).ids)


@pytest.mark.parametrize("after", [1, 4])
def test_an_interrupted_build_goes_on_and_ends_with_the_same_bytes(
    store, midi_files, tokenizer, tmp_path, monkeypatch, encoded, after
):
    recording = engines.encode_file

    def interrupted(path, *rest):
        if len(encoded) == after:
            raise KeyboardInterrupt
        return recording(path, *rest)

    monkeypatch.setattr(engines, "encode_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(midi_files, tokenizer, tmp_path)
    assert not list(tmp_path.glob("hand-*"))
    monkeypatch.setattr(engines, "encode_file", recording)
    assert contents(build(midi_files, tokenizer, tmp_path).folder) == contents(store.folder)
    assert sorted(encoded) == sorted(path.name for _, path in midi_files), "nothing is encoded twice"
    assert left_in(tmp_path) == [store.folder.name], "nothing else is left"


def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(store, midi_files, tokenizer, tmp_path):
    """kill -9 between data and journal: what the journal does not know is cut off and encoded again."""
    program = f"""
        import os, signal
        from pathlib import Path
        from midifactory.tokens import engines, store as module
        from midifactory.tokens.tokenizer import Tokenizer
        module._PIECES_PER_SYNC = 2
        encode, calls = engines.encode_file, []
        def killing(*arguments):
            calls.append(arguments)
            if len(calls) == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return encode(*arguments)
        engines.encode_file = killing
        pieces = [(name, Path(path)) for name, path in {[(name, str(path)) for name, path in midi_files]!r}]
        tokenizer = Tokenizer.from_json({tokenizer.to_json()!r})
        module.build_store(pieces, tokenizer, {str(tmp_path)!r}, "hand", engines.Preparation(workers=0), progress=False)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False, env=os.environ)
    assert result.returncode == -signal.SIGKILL
    (growing,) = tmp_path.glob(".hand-*.partial")
    assert len((growing / "journal.jsonl").read_text().splitlines()) == 4
    with (growing / "ids.bin").open("ab") as file:
        file.write(b"more than the journal says")
    with (growing / "journal.jsonl").open("a") as file:
        file.write('{"id": "half a li')
    assert contents(build(midi_files, tokenizer, tmp_path).folder) == contents(store.folder)


def test_a_refused_piece_is_recorded_with_its_reason(midi_files, tokenizer, tmp_path, score_from):
    save_score(score_from([(0, [(0, 1, 3, 80)])]), tmp_path / "low.mid")
    (tmp_path / "broken.mid").write_bytes(b"MThd nothing")
    pieces = [*midi_files[:1], ("low", tmp_path / "low.mid"), ("broken", tmp_path / "broken.mid")]
    built = build(pieces, tokenizer, tmp_path / "stores")
    assert list(built.pieces) == [midi_files[0][0]]
    assert set(built.refused) == {"low", "broken"}
    assert "pitch" in built.refused["low"]
    assert built.refused["broken"].startswith("truncated")


def test_nothing_but_refused_pieces_is_an_error_that_gives_a_reason(tokenizer, tmp_path):
    (tmp_path / "broken.mid").write_bytes(b"MThd nothing")
    with pytest.raises(UserError, match=r"none of 1 pieces .*truncated"):
        build([("broken", tmp_path / "broken.mid")], tokenizer, tmp_path / "stores")
    assert left_in(tmp_path / "stores") == []


@pytest.mark.parametrize(
    "preparation",
    [Preparation(workers=2), pytest.param(Preparation(engine="ray", workers=2), marks=pytest.mark.slow)],
    ids=str,
)
def test_workers_and_a_ray_cluster_write_the_same_bytes_as_one_process(
    store, midi_files, tokenizer, tmp_path, monkeypatch, preparation
):
    monkeypatch.setattr(engines, "_FILES_PER_RAY_TASK", 2)
    assert contents(build(midi_files, tokenizer, tmp_path, preparation).folder) == contents(store.folder)


def test_without_ray_the_message_says_how_to_get_it(midi_files, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'midifactory\[ray\]'"):
        build(midi_files, tokenizer, tmp_path, Preparation(engine="ray"))


@pytest.mark.parametrize(
    ("settings", "message"), [({"engine": "dask"}, "engine=dask"), ({"workers": -1}, "workers=-1")]
)
def test_a_wrong_preparation_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Preparation(**settings)


def test_a_piece_of_too_many_tokens_is_left_out(midi_files, tokenizer, tmp_path):
    sizes = {name: len(tokenizer.encode(load_score(path)).ids) for name, path in midi_files}
    most = sorted(sizes.values())[2]
    built = build(midi_files, tokenizer, tmp_path, limits=Limits(max_tokens=most))
    assert {name: piece.tokens for name, piece in built.pieces.items()} == {
        name: size for name, size in sizes.items() if size <= most
    }
    assert all(f"more than data.limits.max_tokens={most}" in reason for reason in built.refused.values())


def test_the_order_of_the_pieces_does_not_matter(store, midi_files, tokenizer, tmp_path):
    assert contents(build(midi_files[::-1], tokenizer, tmp_path).folder) == contents(store.folder)


def test_bad_files_change_no_byte_of_the_good_ones(store, midi_files, tokenizer, tmp_path):
    for index in range(3):
        (tmp_path / f"bad{index}.mid").write_bytes(b"MThd\0\0\0\6\0\1" + bytes(range(index, 40)))
    bad = [(f"drums{index}", tmp_path / f"bad{index}.mid") for index in range(3)]
    mixed, clean = contents(build([*midi_files, *bad], tokenizer, tmp_path).folder), contents(store.folder)
    assert len(json.loads(mixed.pop("build.json"))["refused"]) == 3
    del clean["build.json"]
    assert mixed == clean


def test_an_interruption_while_syncing_writes_no_line_twice(store, midi_files, tokenizer, tmp_path, monkeypatch):
    """Ctrl-C after the journal's lines are written: leaving the build syncs once more."""
    real, calls = os.fsync, []

    def interrupted(descriptor):
        real(descriptor)
        calls.append(descriptor)
        if len(calls) == 3:  # ids, groups, journal
            raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "_PIECES_PER_SYNC", 3)
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(midi_files, tokenizer, tmp_path)
    monkeypatch.setattr(os, "fsync", real)
    assert contents(build(midi_files, tokenizer, tmp_path).folder) == contents(store.folder)


def test_a_limit_holds_for_what_an_earlier_build_has(store, midi_files, tokenizer, tmp_path):
    most = sorted(piece.tokens for piece in store.pieces.values())[2]
    fresh = build(midi_files, tokenizer, tmp_path / "fresh", limits=Limits(max_tokens=most))
    build(midi_files, tokenizer, tmp_path / "grown")
    grown = build(midi_files, tokenizer, tmp_path / "grown", limits=Limits(max_tokens=most))
    assert contents(grown.folder) == contents(fresh.folder)


def test_ray_leaves_our_answer_to_a_stop_in_place(midi_files, tokenizer, tmp_path):
    def ours(*_):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, ours)
    try:
        build(midi_files, tokenizer, tmp_path, Preparation(engine="ray", workers=1))
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)
