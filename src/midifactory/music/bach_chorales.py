"""The Bach chorales that music21 carries, exported once to MIDI."""

import csv
import io
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from midifactory import files
from midifactory.errors import UserError
from midifactory.music.archives import home_path
from midifactory.music.chorales import chorale_score
from midifactory.music.corpora import CollectOptions, Corpus, SourceFile, assemble
from midifactory.music.scan import Scanned, describe
from midifactory.music.score import Limits, UnreadableMidi, check_size, parse_score, read_midi, save_score
from midifactory.music.workers import Failure, run_guarded

log = logging.getLogger(__name__)

# What music21 10.5 gives; the pieces are listed in bach_chorales.csv beside this file.
EXPECTED_COUNT = 359
# Pairs in which at least 90 % of the eighth-note cells of all voices are equal up to transposition: one
# composition with a passing note or a tie changed. The next pair has 87 %.
NEAR_COPIES = {
    "bwv18.5-w": "bwv18.5-lz",
    "bwv177.4": "bwv117.4",
    "bwv279": "bwv158.4",
    "bwv414": "bwv253",
    "bwv62.6": "bwv274",
}
# Raise it with every change of the export, so that older caches are exported again.
EXPORT_FORMAT = 3


class BachChorales:
    """The four-part chorales by J. S. Bach in the corpus of the music21 package, exported once to `root`.

    Rule: every score of `corpus.getComposer("bach")` (the .rntxt analyses are no scores) with exactly four parts,
    named Soprano, Alto, Tenor and Bass, each with notes. That leaves out chorales with instruments of their own, the
    five-part ones and the one keyboard piece. Of chorales with the same music in any key, NEAR_COPIES included, the
    first by file name is kept, as copies must not fall on two sides of a split. Different harmonisations of one
    melody are different pieces and stay.

    The MIDI files have one track for each voice, constant velocity, repeats as written once, no grace notes, and one
    tempo of 80 bpm, since nine in ten encodings give none. A pickup stands at the end of a first whole bar.

    `options` are those of midifactory.music.corpora.CollectOptions. `limit` takes the first so many scores before the
    rule is applied. `near_duplicates` is "keep" by default: the rule has decided, and the published split stays. A
    `cache_root` is not needed, as `root` remembers what was read; an `archive` is refused with UserError.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = "outputs/corpora/bach_chorales",
        *,
        archive: str | os.PathLike[str] | None = None,
        near_duplicates: str = "keep",
        **options: Any,
    ) -> None:
        if archive:
            raise UserError(f"data.archive={archive} does not go with data=bach_chorales; use data=folder for it")
        self.root = home_path(root, "data.root")
        self.options = CollectOptions(near_duplicates=near_duplicates, **options)

    def collect(self, progress: bool = True) -> Corpus:
        """Open the cache, or export what it lacks: about 10 s on two cores for all, then milliseconds.

        An interrupted export goes on where it stopped. Raises UserError when `root` cannot be written. Paths of
        rejected scores are file names inside music21's corpus.
        """
        return assemble("bach_chorales", self._entries(progress), self.options)

    def manifest(self, progress: bool = True) -> str:
        """CSV of every score considered: id, notes, bars, metre, outcome, and the reason or the id it duplicates."""
        entries = self._entries(progress)
        duplicates = _copies({file.id: found for file, found in entries})
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("id", "notes", "bars", "metre", "outcome", "reason"))
        for file, found in entries:
            if found.kind:
                writer.writerow((file.id, "", "", "", "rejected", found.reason))
                continue
            outcome = ("duplicate", duplicates[file.id]) if file.id in duplicates else ("kept", "")
            writer.writerow((file.id, found.notes, found.bars, found.metre, *outcome))
        return text.getvalue()

    def _entries(self, progress: bool) -> list[tuple[SourceFile, Scanned]]:
        entries = []
        for key, found in self._exported(progress).items():
            kept = _within(self.options.limits, found)
            entries.append((SourceFile(key, Path(key) if found.kind else self._target(key)), kept))
        return entries

    def _target(self, key: str) -> Path:
        return self.root / f"{key}.mid"

    def _exported(self, progress: bool) -> dict[str, Scanned]:
        """All scores up to `limit` by id, in the order of their file names, from the index or newly exported."""
        index = self._read_index()
        known = {key: _from_json(fields) for key, fields in index["scores"].items()} if index else {}
        wanted = list(known)[: self.options.limit]
        total = index["total"] if index else None
        covered = total is not None and len(wanted) == min(self.options.limit or total, total)
        if covered and all(known[key].kind or self._target(key).is_file() for key in wanted):
            return self._with_near_copies({key: known[key] for key in wanted})

        sources = _bach_sources()
        wanted = list(sources)[: self.options.limit]
        try:
            if index is None:  # made by another version, or not by this class: nothing there can be reused
                for key in sources:
                    self._target(key).unlink(missing_ok=True)
                self._write_index(None, {})
            todo = [key for key in wanted if key not in known or not (known[key].kind or self._target(key).is_file())]
            jobs = [(sources[key], self._target(key)) for key in todo]
            results = run_guarded(
                _export_chorale,
                jobs,
                workers=self.options.workers,
                seconds=None,  # the scores are music21's own, and slow computers may take their time
                megabytes=None,
                label="exporting chorales",
                progress=progress,
            )
            for key, found in zip(todo, results, strict=True):
                known[key] = Scanned(found.kind, found.reason) if isinstance(found, Failure) else found
            known = {key: known[key] for key in sources if key in known}
            self._write_index(len(sources), known)
        except OSError as error:
            raise UserError(
                f"data.root={self.root} cannot be written ({error.strerror}); name another folder"
            ) from error
        chorales = self._with_near_copies({key: known[key] for key in wanted})
        count = sum(not item.kind for item in chorales.values()) - len(_copies(chorales))
        if self.options.limit is None and count != EXPECTED_COUNT:
            log.warning("music21 %s gives %d chorales, not %d", version("music21"), count, EXPECTED_COUNT)
        return chorales

    @staticmethod
    def _with_near_copies(found: dict[str, Scanned]) -> dict[str, Scanned]:
        """`found` with the digest of a near copy replaced by its original's, where both are there."""
        pairs = {copy: original for copy, original in NEAR_COPIES.items() if copy in found and original in found}
        return found | {copy: replace(found[copy], digest=found[original].digest) for copy, original in pairs.items()}

    def _read_index(self) -> dict[str, Any] | None:
        """The index, or None when there is none that this version wrote."""
        try:
            index = json.loads((self.root / "index.json").read_text(encoding="utf-8"))
            fits = (index["format"], index["music21"]) == (EXPORT_FORMAT, version("music21"))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return index if fits else None

    def _write_index(self, total: int | None, scores: dict[str, Scanned]) -> None:
        """`total` is the number of scores in music21, None while the first export runs."""
        index = {"format": EXPORT_FORMAT, "music21": version("music21"), "total": total}
        index["scores"] = {key: asdict(item) | {"signature": item.signature.hex()} for key, item in scores.items()}
        files.write_text(self.root / "index.json", json.dumps(index, indent=1) + "\n")


def _bach_sources() -> dict[str, Path]:
    """The scores by id, which is the catalogue number; other encodings of the same number keep their suffix."""
    from music21 import corpus

    paths = sorted((Path(path) for path in corpus.getComposer("bach")), key=lambda path: path.name)
    return {path.stem if path.suffix == ".mxl" else path.name: path for path in paths if path.suffix != ".rntxt"}


def _export_chorale(job: tuple[Path, Path]) -> Scanned:
    """Convert one score of music21 to a MIDI file, unless an interrupted export has already done so."""
    from music21 import converter

    source, target = job
    try:
        data = read_midi(target)
        score = parse_score(data)
    except UnreadableMidi:
        try:
            # forceSource: music21 would otherwise leave a pickle of every score in the temporary folder.
            score = chorale_score(converter.parse(source, forceSource=True))
        except UnreadableMidi as error:
            return Scanned(kind="not_a_chorale", reason=str(error))
        save_score(score, target)
        data = read_midi(target)
    return describe(score, data, any_key=True)


def _from_json(values: dict[str, Any]) -> Scanned:
    return Scanned(
        **(values | {"signature": bytes.fromhex(values["signature"]), "programs": tuple(values["programs"])})
    )


def _within(limits: Limits, found: Scanned) -> Scanned:
    """`found`, refused where it is beyond `limits`, which may have changed since the export."""
    try:
        check_size(limits, notes=found.notes, seconds=found.seconds)
    except UnreadableMidi as error:
        return Scanned(kind=error.kind, reason=str(error))
    return found


def _copies(chorales: Mapping[str, Scanned]) -> dict[str, str]:
    """The later of equal chorales, and which one they are copies of."""
    first: dict[str, str] = {}
    first_of = {key: first.setdefault(item.digest, key) for key, item in chorales.items() if not item.kind}
    return {key: original for key, original in first_of.items() if key != original}
