"""Archives: what an honest one becomes, and that a hostile or broken one leaves nothing behind."""

import hashlib
import io
import json
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import pytest

from midifactory.errors import UserError
from midifactory.music import archives
from midifactory.music.archives import MARKER, unpack

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")
TREE = {"set/a.mid": b"first", "set/deep/b.MIDI": random.Random(0).randbytes(3 * 2**20), "set/empty.txt": b""}


def tar_info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def make_tar(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:" + path.suffix[1:] if path.suffix != ".tar" else "w") as archive:
        for info, data in entries:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make_zip(path: Path, *entries: tuple[str, bytes, int]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data, kind in entries:
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, data)
    return path


def make(path: Path, tree: dict[str, bytes] = TREE) -> Path:
    if path.suffix == ".zip":
        return make_zip(path, *((name, data, stat.S_IFREG) for name, data in tree.items()))
    return make_tar(path, *((tar_info(name), data) for name, data in tree.items()))


def contents(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name != MARKER}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_packed_is_unpacked_once(tmp_path, suffix, monkeypatch):
    archive = make(tmp_path / f"music{suffix}")
    target = unpack(archive, tmp_path / "out" / "music", progress=False)
    assert contents(target) == TREE
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["music"]
    monkeypatch.setattr(archives, "_fill", lambda *_: pytest.fail("unpacked again"))
    (target / "set" / "mine.txt").write_text("kept")
    assert unpack(archive, target, progress=False) == target
    assert (target / "set" / "mine.txt").exists()


def test_a_real_packer_and_folders_are_understood(tmp_path):
    for name, data in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "set" / "hollow").mkdir()
    for kind, suffix in (("zip", ".zip"), ("gztar", ".tar.gz")):
        archive = shutil.make_archive(str(tmp_path / "real"), kind, tmp_path, "set")
        target = unpack(archive, tmp_path / f"out{suffix}", progress=False)
        assert contents(target) == TREE
        assert (target / "set" / "hollow").is_dir()


HOSTILE_NAMES = ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "C:evil", "\\\\server\\evil", "a/.."]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_no_member_leaves_the_target(tmp_path, name, suffix):
    archive = make(tmp_path / f"bad{suffix}", {"good.mid": b"x", name: b"evil"})
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="refused") as caught:
        unpack(archive, tmp_path / "in" / "out", progress=False)
    assert "\n" not in str(caught.value)
    assert set(tmp_path.rglob("*")) - before <= {tmp_path / "in"}


OUTWARD = [("link", "/etc"), ("link", "../.."), ("deep/link", "../../x"), ("link", "a/../../x"), ("link", "C:\\x")]


@pytest.mark.parametrize(("name", "to"), OUTWARD)
@pytest.mark.parametrize("kind", ["zip", "symbolic", "hard"])
def test_no_link_leads_out(tmp_path, name, to, kind):
    if kind == "zip":
        archive = make_zip(tmp_path / "bad.zip", (name, to.encode(), stat.S_IFLNK))
    else:
        link = tarfile.SYMTYPE if kind == "symbolic" else tarfile.LNKTYPE
        archive = make_tar(tmp_path / "bad.tar", (tar_info(name, link, to), b""))
    with pytest.raises(UserError, match="refused"):
        unpack(archive, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_links_inside_are_left_out_and_cannot_redirect_a_member(tmp_path):
    archive = make_tar(
        tmp_path / "links.tar",
        (tar_info("a/b"), b"real"),
        (tar_info("a/link", tarfile.SYMTYPE, "b"), b""),
        (tar_info("up", tarfile.SYMTYPE, "a"), b""),
        (tar_info("up/c"), b"through the link"),
    )
    target = unpack(archive, tmp_path / "out", progress=False)
    assert contents(target) == {"a/b": b"real", "up/c": b"through the link"}
    assert not any(path.is_symlink() for path in target.rglob("*"))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(tmp_path, kind):
    with pytest.raises(UserError, match="device or a pipe"):
        unpack(make_tar(tmp_path / "bad.tar", (tar_info("dev", kind), b"")), tmp_path / "out", progress=False)
    pipe = make_zip(tmp_path / "bad.zip", ("dev", b"", stat.S_IFIFO))
    with pytest.raises(UserError, match="device or a pipe"):
        unpack(pipe, tmp_path / "out", progress=False)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bounds_hold_as_written(tmp_path, suffix):
    archive = make(tmp_path / f"bomb{suffix}", {"zeros": bytes(5 * 2**20), "more": b"x"})
    with pytest.raises(UserError, match="unpacks to more than 5242880 bytes"):
        unpack(archive, tmp_path / "out", max_bytes=5 * 2**20, progress=False)
    with pytest.raises(UserError, match="more than 1 files"):
        unpack(archive, tmp_path / "out", max_files=1, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]
    assert unpack(archive, tmp_path / "out", max_bytes=5 * 2**20 + 1, max_files=2, progress=False).is_dir()


def test_a_header_that_lies_about_the_size(tmp_path):
    honest = make_zip(tmp_path / "honest.zip", ("zeros", bytes(2**20), stat.S_IFREG)).read_bytes()
    lie = honest.replace((2**20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lie != honest
    (tmp_path / "lie.zip").write_bytes(lie)
    with pytest.raises(UserError, match="broken"):
        unpack(tmp_path / "lie.zip", tmp_path / "out", max_bytes=1000, progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
def test_broken_archives_are_one_line(tmp_path, suffix, damage):
    archive = make(tmp_path / f"broken{suffix}")
    data = bytearray(archive.read_bytes())
    if damage == "flipped" and suffix == ".tar":
        data[257 + 512 * 2] ^= 255  # a plain tar has checksums of its headers only
        data[100] ^= 255
    else:
        data[len(data) // 2] ^= 255
    written = {"empty": b"", "text": b"<html>not found</html>" * 50, "cut": bytes(data[: len(data) // 2])}
    archive.write_bytes(written.get(damage, bytes(data)))
    with pytest.raises(UserError, match=r"broken") as caught:
        unpack(archive, tmp_path / "out", progress=False)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_random_damage_never_escapes_as_another_error(tmp_path):
    generator = random.Random(1)
    small = {"a/1.mid": b"abc" * 50, "a/2.mid": generator.randbytes(400)}
    for suffix in SUFFIXES:
        archive = make(tmp_path / f"fuzz{suffix}", small)
        honest = archive.read_bytes()
        for number in range(40):
            data = bytearray(honest)
            for _ in range(generator.randint(1, 4)):
                data[generator.randrange(len(data))] = generator.randrange(256)
            archive.write_bytes(bytes(data[: generator.randint(1, len(data))] if number % 2 else data))
            target = tmp_path / f"out-{suffix}-{number}"
            try:
                unpack(archive, target, progress=False)
            except UserError:
                assert not target.exists()
            for path in target.rglob("*"):
                assert path.resolve().is_relative_to(target.resolve())


def test_a_password_is_asked_for_by_nobody(tmp_path):
    data = bytearray(make(tmp_path / "locked.zip", {"a": b"secret"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    (tmp_path / "locked.zip").write_bytes(bytes(data))
    with pytest.raises(UserError, match="password"):
        unpack(tmp_path / "locked.zip", tmp_path / "out", progress=False)


def test_a_target_with_other_content_is_not_touched(tmp_path):
    archive = make(tmp_path / "a.zip", {"a": b"1"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "hollow").mkdir()
    for taken in ("mine", "file"):
        with pytest.raises(UserError, match=r"exists and was not unpacked from .*a\.zip as it is now"):
            unpack(archive, tmp_path / taken, progress=False)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert contents(unpack(archive, tmp_path / "hollow", progress=False)) == {"a": b"1"}
    make(archive, {"a": b"2"})  # the same name and size, other bytes
    with pytest.raises(UserError, match="exists"):
        unpack(archive, tmp_path / "hollow", progress=False)


def test_names_that_are_no_archive(tmp_path):
    (tmp_path / "music.rar").write_bytes(b"Rar!")
    for name, reason in (("none.zip", "does not exist"), (".", "is not a file"), ("music.rar", r"use one of \.zip")):
        with pytest.raises(UserError, match=reason):
            unpack(tmp_path / name, tmp_path / "out")


def test_an_interruption_leaves_no_half_target(tmp_path):
    """A process that is interrupted in the middle of the second file."""
    archive = make(tmp_path / "music.tar", TREE)
    program = (
        "import sys, signal, os\nfrom midifactory.music import archives\n"
        "archives._BLOCK = 1024\nseen = []\n"
        "def update(bar, count):\n    seen.append(count)\n"
        "    if len(seen) == 100: os.kill(os.getpid(), signal.SIGINT)\n"
        "archives.tqdm.update = update\narchives.unpack(sys.argv[1], sys.argv[2])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, archive, tmp_path / "out"], capture_output=True, text=True, check=False
    )
    assert "KeyboardInterrupt" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["music.tar"]
    assert contents(unpack(archive, tmp_path / "out", progress=False)) == TREE


def test_the_marker_says_what_was_unpacked(tmp_path):
    archive = make(tmp_path / "a.tar.gz", {"a": b"1"})
    marker = json.loads((unpack(archive, tmp_path / "out", progress=False) / MARKER).read_text())
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert marker == {"archive": "a.tar.gz", "size": archive.stat().st_size, "sha256": digest}


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, *b"xgX", *b"S"])
def test_a_header_that_would_fill_the_memory_is_refused(tmp_path, kind):
    kind = kind if isinstance(kind, bytes) else bytes([kind])
    entries = (tar_info("././@LongLink", kind), bytes(2**23)), (tar_info("a.mid"), b"x")
    archive = make_tar(tmp_path / "bomb.tar.gz", *entries)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"refused: it holds a (header of 8388608 bytes|sparse file)") as caught:
            unpack(archive, tmp_path / "out", progress=False)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_that_are_honest_are_kept(tmp_path, form):
    name = "/".join(["a long name of a folder, with ♯ " * 3] * 3) + ".mid"
    with tarfile.open(tmp_path / "long.tar", "w", format=form) as archive:
        for member in (name, "short.mid", "b" + name):
            info = tar_info(member)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    expected = {name: b"x", "short.mid": b"x", "b" + name: b"x"}
    assert contents(unpack(tmp_path / "long.tar", tmp_path / "out", progress=False)) == expected


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_folders_that_no_walk_gets_through_are_refused(tmp_path, suffix):
    deep = make(tmp_path / f"deep{suffix}", {"a/" * 1500 + "x.mid": b"x"})
    with pytest.raises(UserError, match="has 1501 parts, at most 100"):
        unpack(deep, tmp_path / "out", progress=False)
    fine = make(tmp_path / f"fine{suffix}", {"a/" * 99 + "x.mid": b"x"})
    assert len(contents(unpack(fine, tmp_path / "out", progress=False))) == 1
