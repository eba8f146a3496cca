"""Collecting files: every file is accounted for, no music stands on two sides of a split."""

import json
import logging
import os
import random
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from symusic import Note, Score, Track

from midifactory.cli.building import print_rejected, write_corpus
from midifactory.errors import UserError
from midifactory.music import corpora
from midifactory.music.bach_chorales import BachChorales
from midifactory.music.corpora import CollectOptions, SourceFile, collect_files
from midifactory.music.registry import NamedCorpus
from midifactory.music.scan import scan_files
from midifactory.music.score import Limits, save_score


def melody(pitches, ticks_per_quarter=480, program=0):
    score = Score(ticks_per_quarter)
    track = Track("melody", program, False)
    for index, pitch in enumerate(pitches):
        track.notes.append(Note(index * ticks_per_quarter, ticks_per_quarter // 2, pitch, 70))
    score.tracks.append(track)
    return score


def tune(seed, length=60):
    """A melody of many different intervals, so that no two of them resemble each other."""
    steps = np.random.default_rng(seed).integers(-12, 13, length)
    return melody([int(pitch) for pitch in 40 + np.cumsum(steps) % 50])


def collect(folder, **options):
    return corpora.Folder(folder, workers=0, **options).collect(progress=False)


@pytest.fixture
def folder(tmp_path):
    """Five different pieces in nested folders, one copy, two broken files and one that is no MIDI."""
    for index, name in enumerate(["a.mid", "b.MIDI", "sub/c.Mid", "sub/deep/d.midi", "z.KAR"]):
        save_score(melody(range(60 + index, 70)), tmp_path / name)
    save_score(melody(range(60, 70), ticks_per_quarter=96), tmp_path / "sub/copy of a.mid")
    (tmp_path / "empty.mid").touch()
    (tmp_path / "words.mid").write_text("no music", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no MIDI", encoding="utf-8")
    return tmp_path


def test_every_file_is_a_piece_a_duplicate_or_rejected(folder):
    corpus = collect(folder)
    assert [piece.id for piece in corpus.pieces] == ["a.mid", "b.MIDI", "sub/c.Mid", "sub/deep/d.midi", "z.KAR"]
    assert [piece.notes for piece in corpus.pieces] == [10, 9, 8, 7, 6]
    assert corpus.duplicates == (("sub/copy of a.mid", "a.mid"),)
    assert [item.path.name for item in corpus.rejected] == ["empty.mid", "words.mid"]
    assert all("not a valid MIDI file" in item.reason for item in corpus.rejected)
    assert [item.kind for item in corpus.rejected] == ["unreadable", "unreadable"]
    assert all(piece.path.is_file() for piece in corpus.pieces)
    assert [len(corpus.of(split)) for split in corpora.SPLITS] == [3, 1, 1]
    assert corpus.name == folder.name
    for part in ("5 pieces", "40 notes", "3 train", "2 rejected", "1 duplicates"):
        assert part in corpus.summary()
    with pytest.raises(UserError, match="'valid' is unknown; use one of train"):
        corpus.of("valid")


def test_worker_processes_find_the_same(folder):
    here = collect(folder)
    assert corpora.Folder(folder, workers=2).collect(progress=False) == here


def test_limit_takes_the_first_files_of_the_sorted_list(folder):
    corpus = collect(folder, limit=4, name="few")
    assert [piece.id for piece in corpus.pieces] == ["a.mid", "b.MIDI", "sub/c.Mid"]
    assert [item.path.name for item in corpus.rejected] == ["empty.mid"]
    assert corpus.name == "few"


@pytest.mark.skipif(not hasattr(os, "symlink") or sys.platform == "win32", reason="needs symbolic links")
def test_links_to_files_count_and_loops_of_folders_end(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "far.mid"
    save_score(melody([40, 50, 60]), outside)
    (folder / "linked.mid").symlink_to(outside)
    (folder / "sub/loop").symlink_to(folder)
    (folder / "broken.mid").symlink_to(folder / "nowhere.mid")
    corpus = collect(folder)
    assert "linked.mid" in {piece.id for piece in corpus.pieces}
    assert len(corpus.pieces) == 6
    assert "broken.mid" in {item.path.name for item in corpus.rejected}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_gets_a_printable_id(folder):
    (folder / "a.mid").rename(os.fsdecode(os.fsencode(folder) + b"/\xff.mid"))
    corpus = collect(folder)
    assert "\\xff.mid" in {key for pair in corpus.duplicates for key in pair}
    corpus.pieces[0].id.encode("utf-8")


def test_a_home_folder_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert len(collect(f"~/{folder.name}").pieces) == 5


@pytest.mark.parametrize("root", [None, "", "???"])
def test_a_root_that_is_not_set(root):
    with pytest.raises(UserError, match=r"data\.root is not set.*data\.root=my_midis"):
        collect(root)


def test_mistakes_with_the_folder_are_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        collect(tmp_path / "missing")
    with pytest.raises(UserError, match=r"holds no \.mid, \.midi, \.kar files"):
        collect(tmp_path)
    (tmp_path / "a.mid").write_bytes(b"broken")
    with pytest.raises(UserError, match="is a file, not a folder"):
        collect(tmp_path / "a.mid")
    (tmp_path / "b.mid").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"none of the 2 MIDI files in data.root=.* \(the first, a\.mid: not a valid MIDI file"
    ):
        collect(tmp_path)
    save_score(melody([60]), tmp_path / "c.mid")
    with pytest.raises(UserError, match="1 pieces cannot fill train, validation and test; at least 3"):
        collect(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit=0"),
        ({"workers": -1}, "workers=-1"),
        ({"fractions": (0.9, 0.1)}, "three numbers above 0"),
        ({"fractions": (1, 0, 0)}, "three numbers above 0"),
        ({"fractions": (0.8, 0.1, 0.2)}, r"sum to 1\.1"),
        ({"duplicates": "remove"}, "duplicates=remove is unknown; use one of drop, group, keep"),
        ({"near_duplicates": None}, "near_duplicates=None is unknown"),
    ],
)
@pytest.mark.parametrize("kind", [corpora.Folder, BachChorales])
def test_impossible_options_are_refused_at_once(kind, options, message):
    with pytest.raises(UserError, match=message):
        kind("anywhere", **options)


# --- splits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 4, 7, 10, 11, 359])
@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.34, 0.33, 0.33), (0.98, 0.01, 0.01)])
def test_splits_are_a_partition_of_the_right_sizes(count, fractions):
    ids = [f"piece {index}" for index in range(count)]
    splits = corpora.split_pieces(ids, fractions, seed=1)
    assert set(splits) == set(ids)
    for split, fraction in zip(corpora.SPLITS, fractions, strict=True):
        size = sum(value == split for value in splits.values())
        assert size >= 1
        assert abs(size - fraction * count) < 2.01


def test_splits_depend_on_the_seed_and_not_on_the_order():
    ids = [f"piece {index}" for index in range(50)]
    splits = corpora.split_pieces(ids, seed=3)
    np.random.seed(9)  # noqa: NPY002  the global generator must not matter
    assert corpora.split_pieces(reversed(ids), seed=3) == splits
    assert corpora.split_pieces(ids, seed=4) != splits


@pytest.mark.parametrize("ids", [[], ["a"], ["a", "b", "a"]])
def test_fewer_than_three_pieces_cannot_be_split(ids):
    with pytest.raises(UserError, match=f"{len(set(ids))} pieces .* at least 3 .* add MIDI files"):
        corpora.split_pieces(ids)


@pytest.mark.parametrize("seed", range(8))
def test_groups_stay_together_and_fill_the_splits(seed):
    rng = random.Random(seed)
    group_of = {f"piece {index}": f"group {rng.randrange(25)}" for index in range(200)}
    splits = corpora.split_pieces(group_of, seed=seed, group_of=group_of)
    for group in set(group_of.values()):
        assert len({splits[key] for key in group_of if group_of[key] == group}) == 1
    for split in corpora.SPLITS[1:]:
        size = sum(value == split for value in splits.values())
        assert 14 <= size <= 26  # 20, give or take the size of a small group
    alone = {key: key for key in group_of}
    assert corpora.split_pieces(group_of, seed=seed, group_of=alone) == corpora.split_pieces(group_of, seed=seed)


@pytest.mark.parametrize("sizes", [(98, 1, 1), (50, 50, 1), (5, 1, 1, 1), (1, 1, 1), (40, 30, 30)])
def test_lopsided_groups_leave_no_split_empty(sizes):
    group_of = {f"{group} {index}": str(group) for group, size in enumerate(sizes) for index in range(size)}
    splits = corpora.split_pieces(group_of, group_of=group_of)
    assert set(splits.values()) == set(corpora.SPLITS)
    largest = max(sizes)
    assert largest < 50 or sum(value == "train" for value in splits.values()) >= largest
    with pytest.raises(UserError, match="2 groups of pieces cannot fill"):
        corpora.split_pieces(["a", "b", "c"], group_of={"a": "x", "b": "x", "c": "y"})


# --- copies and groups -----------------------------------------------------------------------------------


@pytest.fixture
def family(tmp_path):
    """Twelve tunes and four relatives of number 0: two copies, and two with a note missing."""
    for index in range(12):
        save_score(tune(index), tmp_path / f"{index:02}.mid")
    for name in ("copy 1", "copy 2"):
        save_score(tune(0), tmp_path / f"{name}.mid")
    for place in (20, 40):
        near = tune(0)
        near.tracks[0].notes.pop(place)
        save_score(near, tmp_path / f"near {place}.mid")
    return tmp_path


def splits_of(corpus, *ids):
    found = {piece.id: piece.split for piece in corpus.pieces}
    return [found.get(f"{key}.mid") for key in ids]


def test_exact_copies_are_dropped_and_near_ones_share_a_split(family):
    for seed in range(6):
        corpus = collect(family, seed=seed)
        assert corpus.duplicates == (("copy 1.mid", "00.mid"), ("copy 2.mid", "00.mid"))
        assert corpus.near_groups == (("00.mid", "near 20.mid", "near 40.mid"),)
        assert len(set(splits_of(corpus, "00", "near 20", "near 40"))) == 1
        assert {piece.group for piece in corpus.pieces} == {"", "00.mid"}
    assert "3 pieces in 1 groups" in corpus.summary()


def test_the_other_rules_for_copies(family):
    grouped = collect(family, duplicates="group", near_duplicates="keep")
    assert grouped.duplicates == ()
    assert len(grouped.pieces) == 16
    assert len(set(splits_of(grouped, "00", "copy 1", "copy 2"))) == 1
    assert {piece.group for piece in grouped.pieces if "near" in piece.id} == {""}
    dropped = collect(family, near_duplicates="drop")
    assert dropped.near_duplicates == (("near 20.mid", "00.mid"), ("near 40.mid", "00.mid"))
    assert len(dropped.pieces) == 12
    kept = collect(family, duplicates="keep", near_duplicates="keep")
    assert len(kept.pieces) == 16
    assert {piece.group for piece in kept.pieces} == {""}


def test_pieces_are_grouped_by_label_or_pattern(family):
    files = [SourceFile(path.name, path, labels={"player": str(int(path.stem) % 4)}) for path in family.glob("??.mid")]
    by_label = collect_files("family", files, CollectOptions(group_by="player", workers=0), progress=False)
    player_of = {piece.id: piece.labels["player"] for piece in by_label.pieces}
    split_of_player = {(player_of[piece.id], piece.split) for piece in by_label.pieces}
    assert len(split_of_player) == 4
    for path in family.glob("??.mid"):
        path.rename(family / f"{int(path.stem) % 4}-{path.name}")
    corpus = collect(family, group_by=r"^(\d)-")
    assert len({(piece.id[0], piece.split) for piece in corpus.pieces if piece.id[1] == "-"}) == 4
    with pytest.raises(UserError, match=r"group_by=player is neither a label, .* nor a pattern"):
        collect(family, group_by="player")
    with pytest.raises(UserError, match=r"neither one of its labels \(player\)"):
        collect_files(
            "f",
            [SourceFile("a", next(family.iterdir()), labels={"player": "x"})],
            CollectOptions(group_by="x", workers=0),
        )
    with pytest.raises(UserError, match="fits none of the ids"):
        collect(family, group_by="(nothing like this)")


def source_files(folder, split_of):
    return [SourceFile(path.stem, path, split_of(path.stem)) for path in folder.glob("*.mid")]


def test_an_official_split_is_kept_and_copies_across_it_are_counted(family, caplog):
    official = {"copy 1": "test", "near 20": "validation", "01": "validation", "02": "test", "copy 2": None, "03": None}
    files = source_files(family, lambda stem: official.get(stem, "train"))
    with caplog.at_level(logging.WARNING):
        corpus = collect_files("family", files, CollectOptions(workers=0), progress=False)
    found = {piece.id: piece.split for piece in corpus.pieces}
    assert {key: found[key] for key in official if official[key]} == {
        key: split for key, split in official.items() if split
    }
    assert found["00"] == "train"
    assert corpus.duplicates == (("copy 2", "00"),)
    assert found["03"] == "train"  # one piece without an official split cannot be split
    assert corpus.straddling == 2  # the copies, and the near copies
    assert "2 groups of copies stand in more than one official split" in caplog.text
    assert "more than one official split" in corpus.summary()
    shuffled = files.copy()
    random.Random(1).shuffle(shuffled)
    assert collect_files("family", shuffled, CollectOptions(workers=0), progress=False) == corpus
    with pytest.raises(UserError, match="no piece of the official split validation and test"):
        collect_files("family", source_files(family, lambda stem: "train"), CollectOptions(workers=0), progress=False)
    with caplog.at_level(logging.WARNING):
        collect_files("family", files, CollectOptions(workers=0, group_by="(.)$"), progress=False)
    assert "sets the official split of family aside" in caplog.text


def test_the_source_s_groups_count(family):
    files = [SourceFile(path.stem, path, group=path.stem[0]) for path in family.glob("*.mid")]
    corpus = collect_files("family", files, CollectOptions(workers=0, near_duplicates="keep"), progress=False)
    assert {piece.group for piece in corpus.pieces} == {"0", "1", "n"}
    assert len({(piece.group, piece.split) for piece in corpus.pieces}) == 3


def test_bad_files_change_nothing_for_the_good_ones(tmp_path):
    clean, dirty = tmp_path / "clean", tmp_path / "dirty"
    for index in range(40):
        save_score(tune(index), clean / f"{index:02}.mid")
    shutil.copytree(clean, dirty)
    good = (clean / "00.mid").read_bytes()
    bad = [b"", b"words", good[:-9], good[:12] + b"\xe7\x28" + good[14:]]
    for place, data in enumerate(bad):
        (dirty / f"{place}0 bad.mid").write_bytes(data)
    clean_corpus, dirty_corpus = collect(clean), collect(dirty)
    assert [(piece.id, piece.split, piece.sha256) for piece in dirty_corpus.pieces] == [
        (piece.id, piece.split, piece.sha256) for piece in clean_corpus.pieces
    ]
    assert [item.kind for item in dirty_corpus.rejected] == ["unreadable", "unreadable", "truncated", "smpte"]
    assert "1 truncated" in dirty_corpus.summary()


def test_an_archive_is_unpacked_first(family, tmp_path_factory, monkeypatch):
    outside = tmp_path_factory.mktemp("outside")
    archive = shutil.make_archive(str(outside / "family"), "zip", family)
    monkeypatch.chdir(outside)
    corpus = collect(None, archive=archive)
    assert corpus.name == "family"
    assert [(piece.id, piece.split) for piece in corpus.pieces] == [(p.id, p.split) for p in collect(family).pieces]
    assert (outside / "outputs/corpora/family/00.mid").is_file()
    assert len(collect(outside / "here", archive=archive).pieces) == len(corpus.pieces)


# --- what was found by others ----------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [{}, {"near_duplicates": "drop"}])
@pytest.mark.parametrize("by", ["group", "pattern"])
def test_a_dropped_copy_still_ties_its_group_to_that_of_the_kept_one(tmp_path, by, rule):
    """Two groups of four hold the same tune, or a near copy of it, so all seven kept pieces share a split."""
    files = []
    for number, name in enumerate(["a/1", "a/2", "a/3", "a/same", "b/1", "b/2", "b/3", "b/same", *"cdefghij"]):
        score = tune(0 if name.endswith("same") else number + 1)
        if rule and name == "b/same":
            score.tracks[0].notes.pop(20)
        path = tmp_path / f"{name}.mid"
        save_score(score, path)
        files.append(SourceFile(f"{name}.mid", path, group=name[0] if by == "group" and "/" in name else ""))
    for seed in range(8):
        options = CollectOptions(workers=0, seed=seed, group_by="^([^/]+)/" if by == "pattern" else None, **rule)
        corpus = collect_files("tied", files, options, progress=False)
        dropped = corpus.near_duplicates if rule else corpus.duplicates
        assert dropped == (("b/same.mid", "a/same.mid"),)
        assert len({piece.split for piece in corpus.pieces if "/" in piece.id}) == 1
        assert len({piece.group for piece in corpus.pieces if "/" in piece.id}) == 1


def test_transposed_copies_of_an_ostinato_are_near_copies(family):
    for shift in (0, 5):
        save_score(melody([60 + shift, 67 + shift, 64 + shift, 67 + shift] * 20), family / f"ostinato {shift}.mid")
    assert ("ostinato 0.mid", "ostinato 5.mid") in collect(family).near_groups
    dropped = collect(family, near_duplicates="drop").near_duplicates
    assert ("ostinato 5.mid", "ostinato 0.mid") in dropped


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_bytes_and_their_escape_are_two_files(folder):
    (folder / "a.mid").rename(os.fsdecode(os.fsencode(folder) + b"/\xff.mid"))
    (folder / "b.MIDI").rename(folder / "\\xff.mid")
    corpus = collect(folder)
    assert {"\\xff.mid", "\\\\xff.mid"} <= {key for key, _ in ((file.id, found) for file, found in corpus.entries)}


def test_names_that_command_a_terminal_are_written_out(folder, capsys):
    bad = folder.with_name(folder.name + " \x1b[31m")
    folder.rename(bad)
    (bad / "words.mid").rename(bad / "w\x07\n.mid")
    corpus = collect(bad)
    print(corpus.summary())
    print_rejected(corpus)
    printed = capsys.readouterr().out
    assert "w\\x07\\x0a.mid: not a valid" in printed
    assert all(line.isprintable() for line in printed.splitlines())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_refused_files_with_any_name_are_listed(folder, tmp_path_factory, capsysbinary):
    (folder / "words.mid").rename(os.fsdecode(os.fsencode(folder) + b"/\xff.mid"))
    corpus = collect(folder)
    print_rejected(corpus)
    assert rb"/\xff.mid: not a valid" in capsysbinary.readouterr().out
    run = tmp_path_factory.mktemp("run")
    write_corpus(SimpleNamespace(corpus=corpus, store=SimpleNamespace(refused=[], folder=folder)), run)
    paths = [item["path"] for item in json.loads((run / "corpus.json").read_text(encoding="utf-8"))["rejected"]]
    assert any(path.endswith("/\\xff.mid") for path in paths)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, r"data\.seed=-1 is negative"),
        ({"seed": 1.5}, r"data\.seed=1\.5 is no whole number"),
        ({"seed": None}, r"data\.seed=None is no whole number"),
        ({"limit": "abc"}, r"data\.limit=abc is no whole number"),
        ({"limit": 1.5}, r"data\.limit=1\.5 is no whole number"),
        ({"limit": True}, r"data\.limit=True is no whole number"),
        ({"workers": "abc"}, "workers=abc is no whole number"),
        ({"fractions": 5}, "fractions=5 must be three numbers"),
        ({"fractions": "abc"}, "fractions=abc must be three numbers"),
        ({"fractions": ["a", 0.1, 0.1]}, "must be three numbers"),
        ({"fractions": [True, 0.1, 0.1]}, "must be three numbers"),
        ({"group_by": 5}, r"data\.group_by=5 is no text"),
    ],
)
def test_options_of_another_type_are_one_line(options, message):
    with pytest.raises(UserError, match=message) as caught:
        corpora.Folder("anywhere", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows makes a folder's name up")
def test_a_home_of_nobody_is_one_line(tmp_path):
    nobody = "~nobody-has-this-name/x"
    for make, key in (
        (lambda: corpora.Folder(nobody), "data.root"),
        (lambda: BachChorales(nobody), "data.root"),
        (lambda: NamedCorpus("groove", nobody), "data.root"),
        (lambda: NamedCorpus("groove", archive=nobody), "data.archive"),
        (lambda: corpora.Folder(tmp_path / "new", archive=nobody).collect(progress=False), "data.archive"),
        (lambda: scan_files("x", [], limits=Limits(), cache_root=nobody), "data.cache_root"),
    ):
        with pytest.raises(UserError, match=f"{key}=~nobody.* has no home folder"):
            make()
