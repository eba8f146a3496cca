"""Collections of pieces: what a source offers, read, freed of copies by musical content, and split by piece.

No music of the validation or test split is heard in training: exact copies are dropped, near copies and pieces of one
group stand in one split.
"""

import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from midifactory.errors import UserError
from midifactory.music.archives import SUFFIXES, home_path, unpack
from midifactory.music.duplicates import group_by_pattern, near_duplicate_groups
from midifactory.music.scan import MIDI_SUFFIXES, Scanned, midi_files, printable, scan_files
from midifactory.music.score import Limits

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = ("train", "validation", "test")
COPY_RULES = ("drop", "group", "keep")
CORPORA_ROOT = Path("outputs/corpora")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """One usable MIDI file. `id` is unique in its corpus: a relative path or a catalogue number.

    `sha256` is of the file's bytes. Pieces of one `group` share a split; "" is a piece on its own.
    """

    id: str
    path: Path
    split: str
    notes: int
    sha256: str = ""
    group: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceFile:
    """One file that a source offers: its id, where it lies, the official split, a group and labels, where known."""

    id: str
    path: Path
    split: str | None = None
    group: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rejected:
    """A file that holds no usable music, and why: the type of the reason (see music/scan.py) and the reason."""

    path: Path
    reason: str
    kind: str = "unreadable"


@dataclass(frozen=True)
class CollectOptions:
    """How `collect_files` reads, deduplicates and splits.

    limit            the first so many files of the source
    fractions, seed  of the split, where the source has no official one
    workers          processes: None for one per core; 0 for this one, which a hostile file can then hang or end
    limits           what one file may cost
    duplicates       exact copies by content: drop all but one, group them in one split, or keep them as if different
    near_duplicates  the same for near copies (music/duplicates.py), exact ones that were kept included
    group_by         pieces of equal value share a split: a label of the source, or a regular expression with one group
                     that is searched in the ids. It sets an official split aside
    cache_root       folder that remembers what was read; None reads every file each time

    Raises UserError for a value that is out of range or of another type.
    """

    limit: int | None = None
    fractions: Sequence[float] = (0.8, 0.1, 0.1)
    seed: int = 0
    workers: int | None = None
    limits: Limits = field(default_factory=Limits)
    duplicates: str = "drop"
    near_duplicates: str = "group"
    group_by: str | None = None
    cache_root: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name, value, remedy in (
            ("data.limit", self.limit, "set it to 1 or more, or to null for all"),
            ("data.seed", self.seed, "set it to 0 or more"),
            ("workers", self.workers, "set 0 for this process alone, or null for all cores"),
        ):
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole and (value is not None or name == "data.seed"):
                raise UserError(f"{name}={value} is no whole number; {remedy}")
        if self.limit is not None and self.limit < 1:
            raise UserError(f"data.limit={self.limit} takes no files; set it to 1 or more, or to null for all")
        if self.seed < 0:
            raise UserError(f"data.seed={self.seed} is negative; set it to 0 or more")
        if self.workers is not None and self.workers < 0:
            raise UserError(f"workers={self.workers} is negative; set 0 for this process alone, or null for all cores")
        if self.group_by is not None and not isinstance(self.group_by, str):
            raise UserError(f"data.group_by={self.group_by} is no text; name a label, or a pattern with one group")
        _check_fractions(self.fractions)
        for name, rule in (("duplicates", self.duplicates), ("near_duplicates", self.near_duplicates)):
            if rule not in COPY_RULES:
                raise UserError(f"data.{name}={rule} is unknown; use one of {', '.join(COPY_RULES)}")


@dataclass(frozen=True)
class Corpus:
    """What was found: every file is a piece, rejected, or a dropped copy.

    `duplicates` and `near_duplicates` are (dropped id, kept id). `near_groups` are the ids of near copies, kept or
    dropped. `straddling` counts groups of copies that an official split tears apart. `entries` are all files with
    what was found in them, for the manifest.
    """

    name: str
    pieces: tuple[Piece, ...]
    rejected: tuple[Rejected, ...]
    duplicates: tuple[tuple[str, str], ...]
    near_duplicates: tuple[tuple[str, str], ...] = ()
    near_groups: tuple[tuple[str, ...], ...] = ()
    straddling: int = 0
    entries: tuple[tuple[SourceFile, Scanned], ...] = field(default=(), repr=False, compare=False)

    def of(self, split: str) -> tuple[Piece, ...]:
        """The pieces of "train", "validation" or "test", in the corpus's order."""
        if split not in SPLITS:
            raise UserError(f"split {split!r} is unknown; use one of {', '.join(SPLITS)}")
        return tuple(piece for piece in self.pieces if piece.split == split)

    def summary(self) -> str:
        """A few lines for a log: pieces and notes, how they are split, what was left out, and what shares a split."""
        parts = ", ".join(f"{len(self.of(split))} {split}" for split in SPLITS)
        notes = sum(piece.notes for piece in self.pieces)
        kinds = ", ".join(
            f"{count} {kind}" for kind, count in Counter(item.kind for item in self.rejected).most_common()
        )
        lines = [
            f"{self.name}: {len(self.pieces)} pieces, {notes} notes ({parts})",
            f"left out: {len(self.rejected)} rejected{f' ({kinds})' if kinds else ''}, "
            f"{len(self.duplicates)} duplicates, {len(self.near_duplicates)} near-duplicates",
        ]
        if self.near_groups:
            inside = sum(map(len, self.near_groups))
            lines.append(f"near-duplicates: {inside} pieces in {len(self.near_groups)} groups")
        if self.straddling:
            lines.append(f"warning: {self.straddling} groups of copies stand in more than one official split")
        return "\n".join(lines)

    def manifest(self) -> "pa.Table":
        """One row for every file; the columns are described in midifactory.music.manifest."""
        from midifactory.music.manifest import columns_of, manifest_table  # pyarrow takes a while to import

        pieces = {piece.id: piece for piece in self.pieces}
        duplicates, near_duplicates = dict(self.duplicates), dict(self.near_duplicates)
        rows: list[dict[str, Any]] = []
        for file, found in self.entries:
            outcome: dict[str, Any] = {"outcome": "rejected"}
            if piece := pieces.get(file.id):
                outcome = {"outcome": "kept", "split": piece.split, "group": piece.group or None}
            elif file.id in duplicates:
                outcome = {"outcome": "duplicate", "duplicate_of": duplicates[file.id]}
            elif file.id in near_duplicates:
                outcome = {"outcome": "near_duplicate", "duplicate_of": near_duplicates[file.id]}
            identity = {"id": file.id, "path": printable(os.fspath(file.path)), "labels": dict(file.labels)}
            rows.append(identity | columns_of(found) | outcome)
        return manifest_table(rows)


def collect_files(name: str, files: Sequence[SourceFile], options: CollectOptions, progress: bool = True) -> Corpus:
    """Read, deduplicate and split `files`, which every source ends in; the result is sorted by id.

    An official split is kept as published, even where copies stand on both sides of it, since numbers must stay
    comparable; a warning then counts them, and Corpus.straddling too.

    Raises UserError where no file can be used, a split would be empty or `group_by` fits nothing.
    """
    chosen = sorted(files[: options.limit], key=lambda file: file.id)
    found = scan_files(
        name,
        [file.path for file in chosen],
        limits=options.limits,
        workers=options.workers,
        cache_root=options.cache_root,
        progress=progress,
    )
    return assemble(name, list(zip(chosen, found, strict=True)), options)


def assemble(name: str, entries: Sequence[tuple[SourceFile, Scanned]], options: CollectOptions) -> Corpus:
    """The corpus of files that were read, in the order of `entries`, the first of equal copies kept."""
    usable = {file.id: (file, found) for file, found in entries if not found.kind}
    if len({file.id for file, _ in entries}) < len(entries):
        raise ValueError(f"{name}: two files have the same id")
    if entries and not usable:
        file, found = entries[0]
        # A path may be a name only: music21's scores that are no chorales have no file of ours.
        folders = [file.path.parent for file, _ in entries if file.path.exists()]
        place = f"in data.root={os.path.commonpath(folders) or '.'}" if folders else f"of {name}"
        raise UserError(
            f"none of the {len(entries)} MIDI files {place} can be used "
            f"(the first, {file.id}: {found.reason}); add files that can"
        )
    official = {key: file.split for key, (file, _) in usable.items() if file.split}
    if unknown := set(official.values()) - set(SPLITS):
        raise ValueError(f"{name}: unknown splits {sorted(unknown)}; a source gives {', '.join(SPLITS)} or None")
    if options.group_by is not None and official:
        log.warning("data.group_by=%s sets the official split of %s aside", options.group_by, name)
        official = {}

    first_of = _first_copies({key: found.digest for key, (_, found) in usable.items()}, official)
    kept = [key for key, first in first_of.items() if options.duplicates != "drop" or key == first]
    # Of all files: a copy that is dropped still ties its own group to that of the one that is kept.
    groups = _named_groups({key: file for key, (file, _) in usable.items()}, options.group_by)
    straddling = _straddling(_gather({key: found.digest for key, (_, found) in usable.items()}), official)
    if options.duplicates != "keep":
        groups += _gather(first_of)

    near_groups: list[tuple[str, ...]] = []
    near_first: dict[str, str] = {}
    if options.near_duplicates != "keep":
        signatures = {key: np.frombuffer(usable[key][1].signature, "<u4") for key in kept if usable[key][1].signature}
        plain = [tuple(sorted(group)) for group in _gather({key: usable[key][1].plain for key in kept})]
        near_groups = sorted(near_duplicate_groups(signatures) + [group for group in plain if len(group) > 1])
        straddling += _straddling([group for group in near_groups if _differ(group, usable)], official)
        groups += near_groups
        if options.near_duplicates == "drop":
            near_of = {key: str(place) for place, group in enumerate(near_groups) for key in sorted(group)}
            near_first = {key: first for key, first in _first_copies(near_of, official).items() if key != first}
            kept = [key for key in kept if key not in near_first]
    if straddling:
        log.warning(
            "%s: %d groups of copies stand in more than one official split, which is kept as published",
            name,
            straddling,
        )

    component = _components(list(usable), groups)
    first_kept: dict[str, str] = {}
    for key in sorted(kept):
        first_kept.setdefault(component[key], key)
    group_of = {key: first_kept[component[key]] for key in kept}
    splits = _split(kept, group_of, official, options)
    names = _group_names(group_of, usable)
    return Corpus(
        name=name,
        pieces=tuple(
            Piece(key, file.path, splits[key], found.notes, found.sha256, names[key], file.labels)
            for key, (file, found) in ((key, usable[key]) for key in kept)
        ),
        rejected=tuple(Rejected(file.path, found.reason, found.kind) for file, found in entries if found.kind),
        duplicates=tuple(
            (key, first) for key, first in first_of.items() if options.duplicates == "drop" and key != first
        ),
        near_duplicates=tuple(near_first.items()),
        near_groups=tuple(near_groups),
        straddling=straddling,
        entries=tuple(entries),
    )


def split_pieces(
    ids: Iterable[str],
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    group_of: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Assign every id to "train", "validation" or "test"; the order of `ids` does not matter.

    Ids of one group (by default each is its own) share a split. The two smaller splits are filled with whole groups in
    a seeded order, those that still fit, up to the rounded number of pieces or as near to it as one more small group
    brings them; each gets at least one group, and train the rest.
    Raises UserError for fewer than 3 groups, or for fractions that are not three positive numbers with sum 1.
    """
    _check_fractions(fractions)
    ordered = sorted(set(ids))
    members: dict[str, list[str]] = {}
    for key in ordered:
        members.setdefault(group_of[key] if group_of else key, []).append(key)
    if len(members) < len(SPLITS):
        what = "pieces" if len(members) == len(ordered) else "groups of pieces"
        raise UserError(
            f"{len(members)} {what} cannot fill train, validation and test; at least 3 are needed: "
            "add MIDI files (copies and unreadable files do not count)"
        )
    sizes = {split: max(1, round(len(ordered) * share)) for split, share in zip(SPLITS[1:], fractions[1:], strict=True)}
    while sum(sizes.values()) >= len(ordered):  # lopsided fractions of a few pieces: leave one to train
        sizes[max(sizes, key=lambda split: sizes[split])] -= 1
    groups = list(members.values())
    waiting = [groups[place] for place in np.random.default_rng(seed).permutation(len(groups))]
    splits = dict.fromkeys(ordered, SPLITS[0])
    for still_to_fill, (split, size) in zip((2, 1), sizes.items(), strict=True):
        taken: list[list[str]] = []
        left: list[list[str]] = []
        filled = 0
        for group in waiting:
            if filled + len(group) <= size and len(waiting) - len(taken) > still_to_fill:
                taken.append(group)
                filled += len(group)
            else:
                left.append(group)
        smallest = min(left, key=len)
        if not taken or (len(left) > still_to_fill and 2 * (size - filled) > len(smallest)):
            left.remove(smallest)
            taken.append(smallest)
        splits |= {key: split for group in taken for key in group}
        waiting = left
    return splits


class Folder:
    """Every .mid, .midi and .kar file below `root` (any case), sorted by relative path, or of an archive.

    With `archive` (.zip, .tar, .tar.gz, ...) it is first unpacked into `root`, by default outputs/corpora and the
    archive's name. `options` are those of CollectOptions. A file's label `folder` is the first folder of its path
    below what the paths of all files begin with.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        archive: str | os.PathLike[str] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        self.root = None if root is None or str(root) in ("", "???") else home_path(root, "data.root")
        self.archive = archive
        self.name = name
        self.options = CollectOptions(**options)

    def collect(self, progress: bool = True) -> Corpus:
        """Unpack, read, deduplicate and split the files; about 10 ms each and core, less where they are known.

        Raises UserError for a root that is not set, missing or a file, for a folder without MIDI files, with only
        broken ones, or with fewer than 3 different pieces, and for an archive that cannot be unpacked.
        """
        root = self.root
        if self.archive:
            root = unpack(self.archive, root or CORPORA_ROOT / _stem(self.archive), progress=progress)
        if root is None:
            raise UserError("data.root is not set: name a folder of MIDI files, for example data.root=my_midis")
        if not root.exists():
            raise UserError(f"data.root={root} does not exist; name a folder of MIDI files")
        if not root.is_dir():
            raise UserError(f"data.root={root} is a file, not a folder; name the folder that holds it")
        paths = midi_files(root)
        if not paths:
            raise UserError(f"data.root={root} holds no {', '.join(MIDI_SUFFIXES)} files; name a folder that does")
        shared = len(Path(os.path.commonpath([Path(key).parent for key, _ in paths])).parts)
        found = [SourceFile(key, path, labels=_folder_label(Path(key).parts[shared:-1])) for key, path in paths]
        return collect_files(self.name or printable(root.resolve().name), found, self.options, progress)


def _folder_label(folders: Sequence[str]) -> dict[str, str]:
    return {"folder": folders[0]} if folders else {}


def _stem(archive: str | os.PathLike[str]) -> str:
    name = Path(archive).name
    suffix = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len, default="")
    return name[: len(name) - len(suffix)] or name


def _check_fractions(fractions: Sequence[float]) -> None:
    shares = list(fractions) if isinstance(fractions, Sequence) and not isinstance(fractions, str) else None
    numbers = shares and all(isinstance(share, int | float) and not isinstance(share, bool) for share in shares)
    if not shares or not numbers or len(shares) != len(SPLITS) or not all(share > 0 for share in shares):
        given = fractions if shares is None else shares
        raise UserError(f"fractions={given} must be three numbers above 0: train, validation, test")
    if not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise UserError(f"fractions={list(fractions)} sum to {sum(fractions):g}; make it 1")


# --- copies and groups -----------------------------------------------------------------------------------


def _first_copies(music_of: Mapping[str, str], official: Mapping[str, str]) -> dict[str, str]:
    """For every id the first id with the same music, which may be itself.

    Copies in different official splits are each their own first; a copy without one goes to one that has it.
    """
    firsts: dict[str, dict[str | None, str]] = {}
    first_of = {}
    for key in sorted(music_of, key=lambda key: key not in official):
        same = firsts.setdefault(music_of[key], {})
        split = official.get(key)
        first_of[key] = same.setdefault(split, key) if split or not same else next(iter(same.values()))
    return {key: first_of[key] for key in music_of}


def _gather(value_of: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The ids of each value that is not empty."""
    groups: dict[str, list[str]] = {}
    for key, value in value_of.items():
        if value:
            groups.setdefault(value, []).append(key)
    return [tuple(group) for group in groups.values()]


def _differ(group: Sequence[str], usable: Mapping[str, tuple[SourceFile, Scanned]]) -> bool:
    return len({usable[key][1].digest for key in group}) > 1


def _straddling(groups: Sequence[Sequence[str]], official: Mapping[str, str]) -> int:
    return sum(len({official[key] for key in group if key in official}) > 1 for group in groups)


def _named_groups(chosen: Mapping[str, SourceFile], group_by: str | None) -> list[tuple[str, ...]]:
    """The groups that the source names, and those of the label or pattern `group_by`."""
    groups = _gather({key: file.group for key, file in chosen.items()})
    if group_by is None:
        return groups
    labels = sorted({label for file in chosen.values() for label in file.labels})
    if group_by in labels:
        return groups + _gather({key: file.labels.get(group_by, "") for key, file in chosen.items()})
    try:
        found = group_by_pattern(chosen, group_by)
    except UserError as error:
        known = f"one of its labels ({', '.join(labels)})" if labels else "a label, as this corpus has none,"
        raise UserError(f"data.group_by={group_by} is neither {known} nor a pattern with one group: {error}") from error
    if not any(found.values()):
        raise UserError(f"data.group_by={group_by} fits none of the ids, such as {min(chosen)}; mend the pattern")
    return groups + _gather(found)


def _components(ids: Sequence[str], groups: Iterable[Sequence[str]]) -> dict[str, str]:
    """For every id the first of all ids that chains of `groups` connect it with."""
    parent = {key: key for key in ids}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for group in groups:
        present = [key for key in group if key in parent]
        for key in present[1:]:
            low, high = sorted((root(present[0]), root(key)))
            parent[high] = low
    return {key: root(key) for key in ids}


def _group_names(group_of: Mapping[str, str], usable: Mapping[str, tuple[SourceFile, Scanned]]) -> dict[str, str]:
    """For every id the source's name of its group, else the first id of it, "" for an id on its own."""
    sizes = Counter(group_of.values())
    names: dict[str, str] = {}
    for key, group in group_of.items():
        if given := usable[key][0].group:
            names[group] = min(names.get(group, given), given)
    return {key: names.get(group, group if sizes[group] > 1 else "") for key, group in group_of.items()}


def _split(
    ids: Sequence[str], group_of: Mapping[str, str], official: Mapping[str, str], options: CollectOptions
) -> dict[str, str]:
    """The split of every id: the official one, else that of an official piece of its group, else a seeded one."""
    if not official:
        return split_pieces(ids, options.fractions, options.seed, group_of)
    of_group: dict[str, str] = {}
    for key in sorted(official.keys() & group_of.keys()):
        of_group.setdefault(group_of[key], official[key])
    splits = {key: official.get(key) or of_group.get(group_of[key], "") for key in ids}
    free = [key for key, split in splits.items() if not split]
    if len({group_of[key] for key in free}) >= len(SPLITS):
        splits |= split_pieces(free, options.fractions, options.seed, group_of)
    splits = {key: split or SPLITS[0] for key, split in splits.items()}
    if empty := [split for split in SPLITS if split not in splits.values()]:
        raise UserError(
            f"no piece of the official split {' and '.join(empty)} is among the {len(ids)} that were read; "
            f"raise data.limit={options.limit} or add the missing files"
        )
    return splits
