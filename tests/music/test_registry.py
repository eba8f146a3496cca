"""Named corpora: the table, the layouts of each, and the ways an archive is found."""

import dataclasses
import hashlib
import json
import logging
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from symusic import Note, Score, Track

from midifactory.errors import UserError
from midifactory.music import registry
from midifactory.music.registry import MIRROR, REGISTRY, NamedCorpus, grid_score, known_corpus, read_layout
from midifactory.music.score import load_score

MAESTRO_HEADER = "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration\n"


def midi(seed: int) -> bytes:
    """Forty notes that no other seed gives, in any key."""
    generator, score, track = random.Random(seed), Score(480), Track()
    track.notes.extend([Note(step * 240, 240, generator.randint(40, 90), 80) for step in range(40)])
    score.tracks.append(track)
    return score.dumps_midi()


def tree(root: Path, *names: str, **texts: str) -> Path:
    """Different small MIDI files of these names below `root`."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(midi(number))
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def groove(tmp_path: Path) -> Path:
    """A folder `groove` in the corpus's layout, with six grooves."""
    root = tmp_path / "made" / "groove"
    names = [f"drummer{number % 2 + 1}/session1/{number}_rock.mid" for number in range(6)]
    tree(root, *names)
    rows = [
        f"drummer{n % 2 + 1},s,{n},rock,{90 + n},beat,4-4,{name},x.wav,1.0,{('train', 'validation', 'test')[n % 3]}"
        for n, name in enumerate(names)
    ]
    header = "drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,duration,split"
    (root / "info.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return root


# --- the table -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGISTRY)
def test_every_entry_is_complete(name):
    entry = REGISTRY[name]
    assert entry.archive.endswith((".zip", ".tar.gz"))
    assert all(url.startswith(("http://", "https://")) for url in (*entry.urls, entry.page))
    if entry.checksum:
        algorithm, digits = entry.checksum.split(":")
        assert re.fullmatch(r"[0-9a-f]+", digits)
        assert len(digits) == 2 * hashlib.new(algorithm).digest_size
    assert not entry.verified or (entry.checksum and entry.urls)
    assert entry.verified or entry.note
    terms = entry.terms()
    assert entry.licence in terms
    assert entry.cite in terms
    assert ("NOT verified" in terms) != entry.verified


def test_checksums_agree_with_those_of_muspy():
    datasets = pytest.importorskip("muspy.datasets")
    theirs = {}
    for corpus in ("MAESTRODatasetV2", "MAESTRODatasetV3", "LakhMIDIMatchedDataset"):
        for source in getattr(datasets, corpus)._sources.values():
            theirs[source["filename"]] = (source["url"], f"sha256:{source['sha256']}", source["size"])
    ours = {entry.archive: (entry.urls[0], entry.checksum, entry.size) for entry in REGISTRY.values() if entry.urls}
    assert len(theirs) == 3
    assert theirs == {name: ours[name] for name in theirs}


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UserError, match="did you mean 'groove'"):
        known_corpus("grove")
    with pytest.raises(UserError, match="known are maestro, "):
        NamedCorpus("xyzzy")


# --- layouts ---------------------------------------------------------------------------------------------


def test_maestro_follows_the_csv_of_its_version(tmp_path):
    """Both csv in one tree, v3's with an index column and one piece less, as they are found in the wild."""
    root = tree(tmp_path / "m" / "maestro-v2.0.0", "2004/a.midi", "2004/b.midi", "2006/c.midi", "2006/not_listed.midi")
    rows = [f'Alban Berg,"Sonata, Op. 1",{s},2004,{n},x.wav,1.0\n' for s, n in (("train", "2004/a.midi"),)]
    rows += ["Bach,Fugue,test,2004,2004/b.midi,x.wav,2.0\n", "Bach,Toccata,validation,2006,2006/c.midi,x.wav,2.0\n"]
    rows.append("Bach,Gone,train,2006,2006/gone.midi,x.wav,2.0\n")
    (root / "maestro-v2.0.0.csv").write_text(MAESTRO_HEADER + "".join(rows), encoding="utf-8")
    moved = "Unnamed: 0," + MAESTRO_HEADER + "0," + rows[0].replace("train", "test") + "1," + rows[1]
    (tmp_path / "m" / "maestro-v3.0.0.csv").write_text(moved, encoding="utf-8")

    found = {file.id: file for file in read_layout("maestro_v2", tmp_path / "m")}
    assert {name: file.split for name, file in found.items()} == {
        "2004/a.midi": "train",
        "2004/b.midi": "test",
        "2006/c.midi": "validation",
    }
    assert found["2004/a.midi"].path == root / "2004" / "a.midi"
    assert found["2004/a.midi"].labels == {"composer": "Alban Berg", "title": "Sonata, Op. 1", "year": "2004"}
    assert {file.id: file.split for file in read_layout("maestro", tmp_path / "m")} == {
        "2004/a.midi": "test",
        "2004/b.midi": "test",
    }


def test_maestro_without_its_csv_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no maestro-v3\*\.csv"):
        read_layout("maestro", tree(tmp_path, "2004/a.midi"))
    (tmp_path / "maestro-v3.0.0.csv").write_text("composer,file\nBach,2004/a.midi\n")
    with pytest.raises(UserError, match="has no column canonical_composer"):
        read_layout("maestro", tmp_path)
    (tmp_path / "maestro-v3.0.0.csv").write_text(MAESTRO_HEADER + "a,b,valid,2004,2004/a.midi,x,1\n")
    with pytest.raises(UserError, match="has split 'valid'; it must be one of train, validation, test"):
        read_layout("maestro", tmp_path)


def test_groove_follows_info_csv(groove):
    found = {file.id: file for file in read_layout("groove", groove.parent)}
    assert len(found) == 6
    one = found["drummer2/session1/1_rock.mid"]
    assert one.split == "validation"
    labels = {"style": "rock", "bpm": "91", "beat_type": "beat", "time_signature": "4-4", "drummer": "drummer2"}
    assert one.labels == labels


def test_nottingham_takes_whole_tunes_and_their_types(tmp_path):
    names = ("jigs1.mid", "reelsd-g12.mid", "reelsu-z3.mid", "hpps7.mid", "slip2.mid", "waltzes10.mid")
    parts = ("melody/jigs1.mid", "chords/jigs1.mid")
    root = tree(tmp_path, *(f"nottingham/MIDI/{name}" for name in names + parts))
    found = {file.id: file.labels["tune_type"] for file in read_layout("nottingham", root)}
    types = ("jigs", "reels", "reels", "hornpipes", "slip jigs", "waltzes")
    assert found == dict(zip(names, types, strict=True))


@pytest.mark.parametrize("name", ["pop909", "pop909_cl"])
def test_pop909_takes_one_file_of_each_song(tmp_path, name):
    versions = ("POP909/001/versions/001-v1.mid", "POP909/001/versions/002.mid")
    root = tree(tmp_path, "POP909/001/001.mid", "POP909/002/002.mid", "x/._003.mid", "x/demo.mid", *versions)
    assert [(file.id, file.group) for file in read_layout(name, root)] == [
        ("001/001.mid", "001"),
        ("002/002.mid", "002"),
    ]


def test_pop909_cl_takes_the_last_stage_of_its_correction(tmp_path):
    stages = ("POP909-24-bin-midi", "POP909_chord_annotated", "POP909_processed")
    root = tree(tmp_path, *(f"set/{stage}/{song}.mid" for stage in stages for song in ("001", "043 ")))
    found = read_layout("pop909_cl", root)
    assert [(file.path.parent.name, file.group) for file in found] == [(stages[-1], "001"), (stages[-1], "043")]


def test_lakh_groups(tmp_path):
    track = "lmd_matched/A/B/C/TRABCDE128F92E1234"
    found = read_layout("lakh_matched", tree(tmp_path / "m", f"{track}/0.mid", f"{track}/1.mid", "readme/x.mid"))
    assert {(file.group, file.labels["msd_track"]) for file in found} == {("TRABCDE128F92E1234", "TRABCDE128F92E1234")}
    names = ("ABBA/Waterloo.mid", "ABBA/Waterloo.1.mid", "Prince/1999.mid", "Prince/Mr. X.12.mid")
    found = read_layout("lakh_clean", tree(tmp_path / "c", *(f"clean_midi/{name}" for name in names)))
    assert {file.id: file.group for file in found} == {
        "ABBA/Waterloo.mid": "ABBA/Waterloo",
        "ABBA/Waterloo.1.mid": "ABBA/Waterloo",
        "Prince/1999.mid": "Prince/1999",
        "Prince/Mr. X.12.mid": "Prince/Mr. X",
    }
    assert found[0].labels == {"artist": "ABBA", "title": "Waterloo"}


def test_giantmidi_reads_names(tmp_path):
    names = ("Aarons, Alfred E., Brother Bill, Giet2Krl6Ww.mid", "Bach, Johann Sebastian, Trio, BWV 1, a-b_cdefghi.mid")
    found = read_layout("giantmidi", tree(tmp_path, *(f"midis/{name}" for name in names), "midis/strange.mid"))
    assert [dict(file.labels) for file in found] == [
        {"composer": "Alfred E. Aarons", "title": "Brother Bill"},
        {"composer": "Johann Sebastian Bach", "title": "Trio, BWV 1"},
    ]


@pytest.mark.parametrize("name", [name for name in REGISTRY if "maestro" not in name])
def test_a_folder_of_something_else_is_one_line(tmp_path, name):
    (tmp_path / "letter.txt").write_text("x")
    with pytest.raises(UserError, match=r"^data\.root=.* holds no [^\n]*$"):
        read_layout(name, tmp_path)


def test_every_beginning_holds_the_splits_in_proportion(tmp_path):
    names = [f"{number:03}.midi" for number in range(50)]
    splits = ["test"] * 5 + ["validation"] * 5 + ["train"] * 40
    rows = [f"a,b,{split},2004,{name},x,1\n" for split, name in zip(splits, names, strict=True)]
    root = tree(tmp_path, *names, **{"maestro-v3.0.0.csv": MAESTRO_HEADER + "".join(rows)})
    order = [file.split for file in read_layout("maestro", root)]
    assert sorted(order) == sorted(splits)
    for count in (10, 20, 40):
        assert order[:count].count("test") == order[:count].count("validation") == count // 10


# --- chorales on a grid ----------------------------------------------------------------------------------

CHORALE = [[67, 62, 59, 43]] * 4 + [[67, 64, 60, 48]] * 2 + [[-1, 64, -1, 48]] + [[67, 64, 60, 48]]


@pytest.fixture
def chorales(tmp_path: Path) -> Path:
    other = [[pitch + 1 for pitch in cell] for cell in CHORALE if -1 not in cell]
    data = {"train": [CHORALE, other], "valid": [other[:4]], "test": [CHORALE[:5]]}
    root = tmp_path / "jsb"
    (root / "JSB-Chorales-dataset").mkdir(parents=True)
    (root / "JSB-Chorales-dataset" / "Jsb16thSeparated.json").write_text(json.dumps(data))
    return root


def test_a_grid_becomes_held_notes_and_back():
    """The piano roll of the notes, sampled every 16th, is the grid; no two notes of a voice touch at one pitch."""
    score = grid_score(CHORALE)
    step = score.ticks_per_quarter // 4
    rolled = np.full((len(CHORALE), 4), -1)
    for voice, track in enumerate(score.tracks):
        for note in track.notes:
            assert note.time % step == note.duration % step == 0
            rolled[note.time // step : note.end // step, voice] = note.pitch
        ends = {(note.end, note.pitch) for note in track.notes}
        assert not ends & {(note.time, note.pitch) for note in track.notes}
    assert rolled.tolist() == CHORALE
    assert [track.program for track in score.tracks] == [40, 41, 42, 43]
    assert [len(track.notes) for track in score.tracks] == [2, 2, 3, 2]


def test_chorales_are_exported_once_with_their_split(chorales):
    found = {file.id: file for file in read_layout("jsb_chorales", chorales)}
    assert {name: file.split for name, file in found.items()} == {
        "train/000.mid": "train",
        "train/001.mid": "train",
        "validation/000.mid": "validation",
        "test/000.mid": "test",
    }
    path = found["train/000.mid"].path
    assert [len(track.notes) for track in load_score(path).tracks] == [2, 2, 3, 2]
    before = path.stat().st_mtime_ns
    found["test/000.mid"].path.unlink()
    again = read_layout("jsb_chorales", chorales)
    assert path.stat().st_mtime_ns == before
    assert all(file.path.is_file() for file in again)


@pytest.mark.parametrize(
    "text", ["{", '{"train": [], "test": []}', "[1]", '{"train": [[[1]]], "valid": [], "test": []}']
)
def test_chorales_of_another_form_are_one_line(chorales, text):
    (chorales / "JSB-Chorales-dataset" / "Jsb16thSeparated.json").write_text(text)
    with pytest.raises(UserError, match="get it again"):
        read_layout("jsb_chorales", chorales)


# --- where the archive comes from ------------------------------------------------------------------------


def pack(groove: Path, path: Path, kind: str = "zip") -> Path:
    made = Path(shutil.make_archive(str(path.parent / "temporary"), kind, groove.parent, groove.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    return made.rename(path)


def official(monkeypatch: pytest.MonkeyPatch, archive: Path, **changes: object) -> None:
    """Make `archive` the one that the registry expects of groove."""
    checksum = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
    entry = dataclasses.replace(
        REGISTRY["groove"], **{"archive": archive.name, "checksum": checksum, "urls": (), **changes}
    )
    monkeypatch.setattr(registry, "REGISTRY", {**REGISTRY, "groove": entry})


@pytest.mark.parametrize("kind", ["zip", "xztar"])
def test_from_an_archive_to_a_corpus(groove, tmp_path, kind, caplog):
    archive = pack(groove, tmp_path / f"mine.{'zip' if kind == 'zip' else 'tar.xz'}", kind)
    root = tmp_path / "corpora" / "groove"
    with caplog.at_level(logging.WARNING):
        corpus = NamedCorpus("groove", root, archive=archive, workers=0).collect(progress=False)
    assert "CC BY 4.0" in caplog.text
    assert "cannot be checked" in caplog.text
    assert corpus.name == "groove"
    assert {piece.id: piece.split for piece in corpus.pieces}["drummer2/session1/1_rock.mid"] == "validation"
    assert [len(corpus.of(split)) for split in ("train", "validation", "test")] == [2, 2, 2]
    caplog.clear()
    assert NamedCorpus("groove", root, archive=archive, workers=0).collect(progress=False) == corpus
    archive.unlink()
    assert NamedCorpus("groove", root, workers=0).collect(progress=False) == corpus
    assert "licence" not in "".join(record.message for record in caplog.records if record.levelno > logging.INFO)


def test_a_folder_unpacked_by_hand_is_used_as_it_is(groove):
    assert NamedCorpus("groove", groove).prepare() == groove
    assert not list(groove.glob(".midifactory*"))


@pytest.mark.parametrize("place", ["mirror", "beside"])
def test_the_mirror_and_the_folder_of_the_root(groove, tmp_path, monkeypatch, place):
    archive = pack(groove, tmp_path / place / "groove.zip")
    official(monkeypatch, archive)
    monkeypatch.setenv(MIRROR, str(tmp_path / "mirror"))
    root = NamedCorpus("groove", tmp_path / "beside" / "groove").prepare(progress=False)
    assert len(read_layout("groove", root)) == 6


def test_the_official_name_must_have_the_official_sum(groove, tmp_path, monkeypatch):
    archive = pack(groove, tmp_path / "mirror" / "groove.zip")
    official(monkeypatch, archive, checksum="sha256:" + "0" * 64)
    monkeypatch.setenv(MIRROR, str(tmp_path / "mirror"))
    for options in ({}, {"archive": archive}):
        with pytest.raises(UserError, match="0000"):
            NamedCorpus("groove", tmp_path / "groove", **options).prepare(progress=False)


def test_downloaded_when_nothing_is_here(groove, tmp_path, monkeypatch):
    archive = pack(groove, tmp_path / "site" / "groove.zip")
    official(monkeypatch, archive, urls=(archive.as_uri(),))
    monkeypatch.delenv(MIRROR, raising=False)
    named = NamedCorpus("groove", tmp_path / "corpora" / "groove")
    assert len(read_layout("groove", named.prepare(progress=False))) == 6


@pytest.mark.parametrize("options", [{"download": False}, {}])
def test_nothing_here_and_no_way_to_get_it(tmp_path, monkeypatch, options):
    monkeypatch.delenv(MIRROR, raising=False)
    name = "groove" if options else "giantmidi"
    with pytest.raises(UserError, match=r"put \S+\.zip at .*MIDIFACTORY_MIRROR, or name it with data\.archive=FILE"):
        NamedCorpus(name, tmp_path / "x", **options).prepare()


def test_another_archive_does_not_replace_what_is_there(groove, tmp_path):
    archive = pack(groove, tmp_path / "other.zip")
    with pytest.raises(UserError, match="remove it or name another"):
        NamedCorpus("groove", groove, archive=archive).prepare(progress=False)
    with pytest.raises(UserError, match="does not exist"):
        NamedCorpus("groove", tmp_path / "new", archive=tmp_path / "none.zip").prepare(progress=False)
    with pytest.raises(UserError, match="is a file, not a folder"):
        NamedCorpus("groove", archive).prepare(progress=False)


def test_an_archive_of_the_same_name_is_another_one(groove, tmp_path):
    root = tmp_path / "corpora" / "groove"
    first = pack(groove, tmp_path / "one" / "groove.zip")
    assert NamedCorpus("groove", root, archive=first).prepare(progress=False) == root
    (groove / "drummer1" / "session1" / "0_rock.mid").write_bytes(midi(99))
    second = pack(groove, tmp_path / "two" / "groove.zip")
    third = tmp_path / "three" / "groove.zip"  # of the same size
    third.parent.mkdir()
    third.write_bytes(first.read_bytes()[::-1])
    for other in (second, third):
        with pytest.raises(UserError, match=r"was not unpacked from .*groove\.zip as it is now"):
            NamedCorpus("groove", root, archive=other).collect(progress=False)
    with pytest.raises(UserError, match=r"nowhere.groove\.zip does not exist"):
        NamedCorpus("groove", root, archive=tmp_path / "nowhere" / "groove.zip").collect(progress=False)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data.replace(b",x.wav,1.0,test", b""), "row 3 is cut short"),
        (lambda data: data.replace(b"rock,92", b"\xe9,92"), "is no csv in UTF-8"),
    ],
)
def test_a_damaged_csv_is_one_line(groove, damage, message):
    listing = groove / "info.csv"
    listing.write_bytes(damage(listing.read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        read_layout("groove", groove)
    assert "\n" not in str(caught.value)


def test_a_mirror_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(MIRROR, str(tmp_path / "unmounted"))
    with pytest.raises(UserError, match=rf"{MIRROR}=.*unmounted is no folder"):
        NamedCorpus("groove", tmp_path / "x", download=False).prepare(progress=False)
