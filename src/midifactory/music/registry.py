"""Corpora that are known by name: where they come from, on which terms, and what their own files say of each piece.

Nothing in here was downloaded by this project: addresses and checksums are those that public sources give. An entry is
`verified` where at least two of them agree on both; its note says what could not be confirmed.
"""

import csv
import difflib
import hashlib
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symusic import Note, Score, Tempo, Track

from midifactory.errors import UserError
from midifactory.music.archives import file_digest, home_path, read_marker, unpack
from midifactory.music.chorales import PROGRAMS, TEMPO_BPM, TICKS_PER_QUARTER, VELOCITY, VOICES
from midifactory.music.corpora import CORPORA_ROOT, SPLITS, CollectOptions, Corpus, SourceFile, collect_files
from midifactory.music.download import check, fetch
from midifactory.music.scan import MIDI_SUFFIXES, file_id, printable
from midifactory.music.score import save_score

MIRROR = "MIDIFACTORY_MIRROR"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownCorpus:
    """One entry: the archive's name, its checksum ("algorithm:hexadecimal") and size in bytes, the count of pieces."""

    title: str
    page: str
    licence: str
    licence_url: str
    cite: str
    archive: str
    files: int
    urls: tuple[str, ...] = ()
    checksum: str | None = None
    size: int | None = None
    verified: bool = False
    note: str = ""

    def terms(self) -> str:
        """Four or five lines to read before use: title, licence, citation, what is not verified."""
        lines = [f"{self.title} ({self.page})", f"licence: {self.licence} {self.licence_url}".rstrip()]
        lines.append(f"cite: {self.cite}")
        state = "verified (public sources agree)" if self.verified else "NOT verified"
        lines.append(f"address and checksum: {state}{'; ' + self.note if self.note else ''}")
        return "\n".join(lines)


_MAGENTA = "https://storage.googleapis.com/magentadata/datasets"
_LAKH = "http://hog.ee.columbia.edu/craffel/lmd"
_CC = "https://creativecommons.org/licenses"
_NO_SUM = "GitHub packs it anew, so no checksum can be given; the commit in the address fixes the content"
_HAWTHORNE = (
    "Hawthorne et al., Enabling Factorized Piano Music Modeling and Generation with the MAESTRO Dataset, ICLR 2019"
)
_RAFFEL = (
    "Raffel, Learning-Based Methods for Comparing Sequences, with Applications to Audio-to-MIDI Alignment and "
    "Matching, PhD thesis, Columbia University 2016"
)
_POP909 = "Wang et al., POP909: A Pop-song Dataset for Music Arrangement Generation, ISMIR 2020"

REGISTRY: Mapping[str, KnownCorpus] = {
    "maestro": KnownCorpus(
        title="MAESTRO v3.0.0, virtuoso piano performances",
        page="https://magenta.tensorflow.org/datasets/maestro",
        licence="CC BY-NC-SA 4.0 (not for commercial use)",
        licence_url=f"{_CC}/by-nc-sa/4.0/",
        cite=_HAWTHORNE,
        archive="maestro-v3.0.0-midi.zip",
        files=1276,
        urls=(f"{_MAGENTA}/maestro/v3.0.0/maestro-v3.0.0-midi.zip",),
        checksum="sha256:70470ee253295c8d2c71e6d9d4a815189e35c89624b76d22fce5a019d5dde12c",
        size=58_416_533,
        verified=True,
    ),
    "maestro_v2": KnownCorpus(
        title="MAESTRO v2.0.0, virtuoso piano performances",
        page="https://magenta.tensorflow.org/datasets/maestro",
        licence="CC BY-NC-SA 4.0 (not for commercial use)",
        licence_url=f"{_CC}/by-nc-sa/4.0/",
        cite=_HAWTHORNE,
        archive="maestro-v2.0.0-midi.zip",
        files=1282,
        urls=(f"{_MAGENTA}/maestro/v2.0.0/maestro-v2.0.0-midi.zip",),
        checksum="sha256:ec2cc9d94886c6b376db1eaa2b8ad1ce62ff9f0a28b3744782b13163295dadf3",
        size=59_243_107,
        verified=True,
    ),
    "groove": KnownCorpus(
        title="Groove MIDI Dataset v1.0.0, performed drums",
        page="https://magenta.tensorflow.org/datasets/groove",
        licence="CC BY 4.0",
        licence_url=f"{_CC}/by/4.0/",
        cite="Gillick et al., Learning to Groove with Inverse Sequence Transformations, ICML 2019",
        archive="groove-v1.0.0-midionly.zip",
        files=1150,
        urls=(f"{_MAGENTA}/groove/groove-v1.0.0-midionly.zip",),
        checksum="sha256:651cbc524ffb891be1a3e46d89dc82a1cecb09a57c748c7b45b844c4841dcc1e",
        size=3_260_318,
        verified=True,
    ),
    "pop909": KnownCorpus(
        title="POP909, piano arrangements of pop songs",
        page="https://github.com/music-x-lab/POP909-Dataset",
        licence="MIT (arrangements and annotations; the songs are under copyright)",
        licence_url="https://github.com/music-x-lab/POP909-Dataset/blob/master/LICENSE",
        cite=_POP909,
        archive="POP909-Dataset-d83e6ed.zip",
        files=909,
        urls=("https://codeload.github.com/music-x-lab/POP909-Dataset/zip/d83e6edba6872a704f5d3b8b32f5cb540088dae6",),
        note=_NO_SUM,
    ),
    "pop909_cl": KnownCorpus(
        title="POP909-CL, POP909 with metre, keys and chords corrected by experts",
        page="https://github.com/AndyWeasley2004/POP909-CL-Dataset",
        licence="MIT (arrangements and annotations; the songs are under copyright)",
        licence_url="https://github.com/AndyWeasley2004/POP909-CL-Dataset/blob/main/LICENSE",
        cite="Yao et al., BACHI: Boundary-Aware Symbolic Chord Recognition, ICASSP 2026 (arXiv:2510.06528); " + _POP909,
        archive="POP909-CL-Dataset-be90943.zip",
        files=909,
        urls=(
            "https://codeload.github.com/AndyWeasley2004/POP909-CL-Dataset/zip/be9094392903c471a930519e1c0bacf8b6be5d62",
        ),
        note=_NO_SUM,
    ),
    "nottingham": KnownCorpus(
        title="Nottingham Music Database as MIDI (Jukedeck's cleaned version), folk tunes with chords",
        page="https://github.com/jukedeck/nottingham-dataset",
        licence="GPL-3.0",
        licence_url="https://www.gnu.org/licenses/gpl-3.0.html",
        cite="Nottingham Music Database (abc.sourceforge.net/NMD), cleaned by Jukedeck",
        archive="nottingham-dataset-0992bb6.zip",
        files=1034,
        urls=("https://codeload.github.com/jukedeck/nottingham-dataset/zip/0992bb6cd864f6d4b90d6663e08c0ef53ffaa08f",),
        note=_NO_SUM,
    ),
    "lakh_matched": KnownCorpus(
        title="Lakh MIDI Dataset v0.1, files matched to the Million Song Dataset",
        page="https://colinraffel.com/projects/lmd/",
        licence="CC BY 4.0 (the collection; many songs are under copyright)",
        licence_url=f"{_CC}/by/4.0/",
        cite=_RAFFEL,
        archive="lmd_matched.tar.gz",
        files=116_189,
        urls=(f"{_LAKH}/lmd_matched.tar.gz",),
        checksum="sha256:621ff830aed771f469e5bfa13dc12a33c6ed69090adeda63d0b5c47783af0191",
        size=1_407_072_670,
        verified=True,
    ),
    "lakh_clean": KnownCorpus(
        title="Lakh MIDI Dataset v0.1, clean subset named by artist and title",
        page="https://colinraffel.com/projects/lmd/",
        licence="CC BY 4.0 (the collection; many songs are under copyright)",
        licence_url=f"{_CC}/by/4.0/",
        cite=_RAFFEL,
        archive="clean_midi.tar.gz",
        files=17_256,
        urls=(f"{_LAKH}/clean_midi.tar.gz",),
        checksum="sha256:de1bb64cbc0cf35545a05b5c3e786aa6890cfa144edffc4b827ff41bf8c33dc5",
        size=234_283_029,
        verified=True,
        note="the checksum is its users', the author gives none",
    ),
    "giantmidi": KnownCorpus(
        title="GiantMIDI-Piano v1.2, transcribed piano recordings",
        page="https://github.com/bytedance/GiantMIDI-Piano/blob/master/disclaimer.md",
        licence="CC BY 4.0 (see the disclaimer)",
        licence_url=f"{_CC}/by/4.0/",
        cite="Kong et al., GiantMIDI-Piano: A large-scale MIDI dataset for classical piano music, arXiv:2010.07061",
        archive="midis_v1.2.zip",
        files=10_854,
        checksum="md5:aaece5750b0cfe30b6a3be5c7bb14f83",
        size=192_678_627,
        note="to be fetched by hand after reading the disclaimer; the checksum is its users', the authors give none",
    ),
    "jsb_chorales": KnownCorpus(
        title="JSB Chorales in four voices on a 16th grid, with the split of Boulanger-Lewandowski et al. 2012",
        page="https://github.com/czhuang/JSB-Chorales-dataset",
        licence="none is given (Bach's works are in the public domain, the encodings' terms are unknown)",
        licence_url="",
        cite="Boulanger-Lewandowski et al., Modeling Temporal Dependencies in High-Dimensional Sequences, ICML 2012; "
        "Huang et al., Counterpoint by Convolution, ISMIR 2017",
        archive="JSB-Chorales-dataset-9a7f733.zip",
        files=382,
        urls=("https://codeload.github.com/czhuang/JSB-Chorales-dataset/zip/9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d",),
        note=_NO_SUM,
    ),
}


def known_corpus(name: str) -> KnownCorpus:
    """The entry of that name. Raises UserError with the nearest name."""
    if name in REGISTRY:
        return REGISTRY[name]
    near = difflib.get_close_matches(name, REGISTRY, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(REGISTRY)}"
    raise UserError(f"corpus {name!r} is unknown; {hint}")


class NamedCorpus:
    """A corpus of the registry as a source of pieces, with its official splits and labels.

    `root` is where it lies or will lie unpacked (default: outputs/corpora/NAME); if it holds files, it is used as it
    is. Else the archive is unpacked into it that is found first: `archive` (any .zip or .tar.* with the corpus's
    layout; its checksum counts if it has the registry's file name), the folder named by the environment variable
    MIDIFACTORY_MIRROR, the folder that holds `root`, and, with `download`, the web. The other options are those of
    midifactory.music.corpora.CollectOptions.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike[str] | None = None,
        *,
        archive: str | os.PathLike[str] | None = None,
        download: bool = True,
        **options: Any,
    ) -> None:
        self.entry = known_corpus(name)
        self.name = name
        self.root = home_path(root or CORPORA_ROOT / name, "data.root")
        self.archive = home_path(archive, "data.archive") if archive else None
        self.download = download
        self.options = CollectOptions(**options)

    def collect(self, progress: bool = True) -> Corpus:
        """Fetch and unpack what is missing, read the layout, then as collect_files. Raises UserError, see there.

        The terms are logged before the first use.
        """
        self._make_ready(progress, say_terms=True)
        log.info("%s in %s; licence: %s", self.entry.title, self.root, self.entry.licence)
        return collect_files(self.name, read_layout(self.name, self.root), self.options, progress)

    def prepare(self, progress: bool = True) -> Path:
        """Make sure that `root` holds the corpus, and return it.

        Raises UserError in one line: what cannot be found, downloaded or unpacked, and where to put the file.
        """
        return self._make_ready(progress, say_terms=False)

    def _make_ready(self, progress: bool, say_terms: bool) -> Path:
        if self._is_ready():
            return self.root
        if say_terms:
            log.warning("%s", self.entry.terms())
        if self.root.is_file():  # said before a long download, not after it
            raise UserError(f"data.root={self.root} is a file, not a folder; name another")
        return unpack(self._find_archive(progress), self.root, progress=progress)

    def _is_ready(self) -> bool:
        if not (self.root.is_dir() and any(self.root.iterdir())):
            return False
        if self.archive is None:
            return True
        # Not by the name alone, which another version may have; `unpack` says what is wrong where they differ.
        marker = read_marker(self.root)
        if marker is None or not self.archive.is_file() or marker.get("size") != self.archive.stat().st_size:
            return False
        return marker.get("sha256") == file_digest(self.archive, "sha256")

    def _find_archive(self, progress: bool) -> Path:
        entry = self.entry
        if self.archive:
            if self.archive.name == entry.archive and self.archive.is_file():
                check(self.archive, entry.checksum)
            elif entry.checksum:
                log.warning("%s is not %s, so its checksum cannot be checked", self.archive.name, entry.archive)
            return self.archive
        mirror = os.environ.get(MIRROR)
        beside = self.root.parent / entry.archive
        folder = home_path(mirror, MIRROR) if mirror else None
        lost = f"{MIRROR}={mirror} is no folder" if folder and not folder.is_dir() else ""
        if lost:
            log.warning("%s", lost)
        for path in ([folder / entry.archive] if folder else []) + [beside]:
            if path.is_file():
                check(path, entry.checksum)
                return path
        if self.download and entry.urls:
            return fetch(entry.urls, beside, entry.checksum, progress=progress)
        why = "download=false" if entry.urls else f"it must be fetched by hand from {entry.page}"
        raise UserError(
            f"{self.root} does not hold {self.name} and {why}{lost and f' ({lost})'}; put {entry.archive} at {beside} "
            f"or into the folder ${MIRROR}, or name it with data.archive=FILE"
        )


# --- layouts ---------------------------------------------------------------------------------------------


def read_layout(name: str, root: str | os.PathLike[str]) -> list[SourceFile]:
    """The MIDI files of the corpus `name` anywhere below `root`, with the splits, groups and labels it gives.

    Files outside the corpus's own lists and folders (parts, versions, files that a csv does not name) are left out.
    Ids are the csv's file names where there is one, else paths relative to the common folder of the files. Where there
    are official splits, every beginning of the list holds them in about their proportions, for the sake of `limit`.
    Raises UserError where nothing of the layout is found.
    """
    root = Path(root)
    entry = known_corpus(name)
    found = _LAYOUTS[name](root)
    if not found:
        raise UserError(f"data.root={root} holds no file in the layout of {entry.title}; name another folder")
    if len(found) != entry.files:
        log.warning("%s: %d of %d pieces are in %s", name, len(found), entry.files, root)
    sizes = Counter(file.split for file in found)
    seen: Counter[str | None] = Counter()
    place: dict[str, float] = {}
    for file in found:
        seen[file.split] += 1
        place[file.id] = (seen[file.split] - 0.5) / sizes[file.split]
    return sorted(found, key=lambda file: place[file.id])


def _files(root: Path) -> list[Path]:
    """MIDI files below `root`; `._name` is what macOS packs beside each file."""
    found = (path for path in root.rglob("*") if path.suffix.lower() in MIDI_SUFFIXES and path.name[:2] != "._")
    return sorted(path for path in found if path.is_file())


def _by_path(paths: Sequence[Path], describe: Callable[[Path], dict[str, Any]]) -> list[SourceFile]:
    """Files with ids relative to their common folder; `describe` gives the group and labels of each."""
    base = os.path.commonpath([path.parent for path in paths]) if paths else ""
    return [SourceFile(file_id(path.relative_to(base)), path, **describe(path)) for path in paths]


def _listed(root: Path, pattern: str, labels: Mapping[str, str]) -> list[SourceFile]:
    """The files that the csv named like `pattern` lists; `labels` gives our name for each column of interest."""
    lists = sorted(path for path in root.rglob(pattern) if path.is_file())
    if not lists:
        raise UserError(f"data.root={root} holds no {pattern}, which names the pieces and splits; name another folder")
    try:
        with lists[0].open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{lists[0]} is no csv in UTF-8 ({error}); restore the corpus's own file") from error
    missing = {"midi_filename", "split", *labels} - set(rows[0] if rows else ())
    if missing:
        raise UserError(f"{lists[0]} has no column {', '.join(sorted(missing))}; restore the corpus's own file")
    for number, row in enumerate(rows, start=1):
        if any(row[column] is None for column in ("midi_filename", "split", *labels)):
            raise UserError(f"{lists[0]}: row {number} is cut short; restore the corpus's own file")
    if strange := {row["split"] for row in rows} - set(SPLITS):
        raise UserError(f"{lists[0]} has split {sorted(strange)[0]!r}; it must be one of {', '.join(SPLITS)}")
    unlisted: dict[str, Path] = {path.as_posix(): path for path in _files(root)}
    # The csv may lie elsewhere than its files, as v3's csv does that was added to v2: by the end of the path, then.
    by_name: dict[str, list[str]] = {}
    for key, path in unlisted.items():
        by_name.setdefault(path.name, []).append(key)
    found = []
    for row in rows:
        name = row["midi_filename"]
        beside = (lists[0].parent / name).as_posix()
        ends = [key for key in by_name.get(Path(name).name, ()) if key.endswith(f"/{name}")]
        place = beside if beside in unlisted else ends[0] if ends else ""
        if piece := unlisted.pop(place, None):
            kept = {label: row[column] for column, label in labels.items() if row[column]}
            found.append(SourceFile(printable(name), piece, row["split"], labels=kept))
    if unlisted:
        log.info("%d MIDI files that %s does not list are left out", len(unlisted), lists[0].name)
    return found


_MAESTRO_LABELS = {"canonical_composer": "composer", "canonical_title": "title", "year": "year"}
_GROOVE_LABELS = {key: key for key in ("style", "bpm", "beat_type", "time_signature", "drummer")}


def _nottingham(root: Path) -> list[SourceFile]:
    """Whole tunes, as the folders melody and chords hold their parts. reelsd-g12.mid is a reel of the part D to G."""
    wholes = [path for path in _files(root) if not {"melody", "chords"} & set(path.relative_to(root).parts[:-1])]
    words = {"hpps": "hornpipes", "slip": "slip jigs"}
    types = {path: re.sub(r"([a-z]-[a-z])?\d*$", "", path.stem.lower()) for path in wholes}
    return _by_path(wholes, lambda path: {"labels": {"tune_type": words.get(types[path], types[path])}})


def _pop909(root: Path) -> list[SourceFile]:
    """One file for each song, 001.mid to 909.mid, not its versions; POP909_processed where there are other stages."""
    # Song 43 of POP909-CL is called "043 .mid"
    songs = [path for path in _files(root) if re.fullmatch(r"\d{3} ?", path.stem) and path.parent.name != "versions"]
    final = [path for path in songs if path.parent.name == "POP909_processed"]
    return _by_path(final or songs, lambda path: {"group": path.stem.strip()})


def _lakh_matched(root: Path) -> list[SourceFile]:
    """All files of one track of the Million Song Dataset are one group; a file may stand under several tracks."""
    tracks = [path for path in _files(root) if re.fullmatch(r"TR[A-Z0-9]{16}", path.parent.name)]
    return _by_path(tracks, lambda path: {"group": path.parent.name, "labels": {"msd_track": path.parent.name}})


def _lakh_clean(root: Path) -> list[SourceFile]:
    """Artist/Title.mid, Artist/Title.1.mid and so on are versions of one song."""

    def describe(path: Path) -> dict[str, Any]:
        artist, title = printable(path.parent.name), printable(re.sub(r"\.\d+$", "", path.stem))
        return {"group": f"{artist}/{title}", "labels": {"artist": artist, "title": title}}

    return _by_path(_files(root), describe)


def _giantmidi(root: Path) -> list[SourceFile]:
    """Surname, First names, Title, YouTube id.mid; the recordings of one work are a group."""

    def describe(path: Path) -> dict[str, Any]:
        surname, first, *title = printable(path.stem).split(", ")
        composer, work = f"{first} {surname}".strip(), ", ".join(title[:-1])
        return {"group": f"{composer}/{work}", "labels": {"composer": composer, "title": work}}

    return _by_path([path for path in _files(root) if path.stem.count(", ") >= 3], describe)


def _jsb_chorales(root: Path) -> list[SourceFile]:
    """The chorales of Jsb16thSeparated.json as MIDI files, made once in a folder of `root`.

    The npz beside it holds pickles, which could run anything, and is not read.
    """
    sources = sorted(root.rglob("Jsb16thSeparated.json"))
    if not sources:
        raise UserError(f"data.root={root} holds no Jsb16thSeparated.json; name the folder or archive that does")
    data = sources[0].read_bytes()
    try:
        chorales: dict[str, list[list[list[int]]]] = json.loads(data)
        splits = {"train": chorales["train"], "validation": chorales["valid"], "test": chorales["test"]}
        # Named by the content, so that another version of the data or of this export never meets old files.
        folder = root / f"midi-{hashlib.sha256(b'1' + data).hexdigest()[:12]}"
        found = []
        for split, pieces in splits.items():
            for number, cells in enumerate(pieces):
                found.append(SourceFile(f"{split}/{number:03}.mid", folder / split / f"{number:03}.mid", split))
                if not found[-1].path.is_file():
                    save_score(grid_score(cells), found[-1].path)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{sources[0]} is not the file that its authors published; get it again") from error
    except OSError as error:
        raise UserError(f"data.root={root} cannot be written ({error.strerror}); name another folder") from error
    return found


def grid_score(cells: Sequence[Sequence[int]]) -> Score:
    """A chorale from its 16th grid, (time, 4) MIDI pitches of soprano, alto, tenor, bass, -1 for silence.

    Tracks, programs and velocity are those of the built-in chorales; so is the tempo of 80 bpm, for the data have
    none, and no metre either. Equal pitches in a row are one held note, as the grid does not tell repeats.
    """
    step = TICKS_PER_QUARTER // 4
    score = Score(TICKS_PER_QUARTER)
    score.tempos.append(Tempo(0, TEMPO_BPM))
    for voice, (name, program) in enumerate(zip(VOICES, PROGRAMS, strict=True)):
        track = Track(name, program, False)
        start = 0
        pitches = [int(cell[voice]) for cell in cells]
        for end in range(1, len(pitches) + 1):
            if end == len(pitches) or pitches[end] != pitches[start]:
                if pitches[start] >= 0:
                    track.notes.append(Note(start * step, (end - start) * step, pitches[start], VELOCITY))
                start = end
        score.tracks.append(track)
    return score


_LAYOUTS: Mapping[str, Callable[[Path], list[SourceFile]]] = {
    "maestro": lambda root: _listed(root, "maestro-v3*.csv", _MAESTRO_LABELS),
    "maestro_v2": lambda root: _listed(root, "maestro-v2*.csv", _MAESTRO_LABELS),
    "groove": lambda root: _listed(root, "info.csv", _GROOVE_LABELS),
    "pop909": _pop909,
    "pop909_cl": _pop909,
    "nottingham": _nottingham,
    "lakh_matched": _lakh_matched,
    "lakh_clean": _lakh_clean,
    "giantmidi": _giantmidi,
    "jsb_chorales": _jsb_chorales,
}
