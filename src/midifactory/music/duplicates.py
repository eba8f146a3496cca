"""Copies of one piece: exact by hash, near ones by MinHash, related ones by a pattern of their names.

Near copies are found as web pages are in Broder, "On the resemblance and containment of documents", 1997: a piece
is the set of its shingles, a signature keeps 128 minima of it, and the share of equal minima estimates the Jaccard
similarity of two sets.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from symusic import Score

from midifactory.errors import UserError
from midifactory.music.score import note_arrays, seconds_at

if TYPE_CHECKING:  # datasketch brings half of SciPy: most of a second for every command that reads a corpus
    from datasketch import MinHash

PERMUTATIONS = 128
# Measured: two harmonisations of one chorale share up to 0.48, two performances of one piano piece 0.35 in the
# median, unrelated pieces 0.25; copies with every 20th note missing 0.62 and more in 19 of 20 chorales (short folk
# tunes: 0.51), transposed copies and those at another tempo 1.
NEAR_THRESHOLD = 0.55
# A set of a few shingles is an everyday figure that strangers share.
MIN_SHINGLES = 16
# An ostinato has few shingles, too, but so many equal notes in a row are no chance.
MIN_PLAIN_NOTES = 50
# Notes closer than this share of the mean time per note are one chord: in a performance no two start together.
_CHORD_SHARE = 0.3
# The next step in time counts as another one from a ratio of the square root of 2 on.
_RATIO_EDGES = (-0.5, 0.5)
# The probability with which a pair at the threshold may be overlooked by the index.
_MISSED = 1e-3


def content_hash(score: Score, any_key: bool = False) -> str:
    """SHA-256 of the music: onset and duration of every note as fractions of a quarter, pitch, program or drums.

    Ticks per quarter, file type, track names, tempo and velocities do not count, so a copy saved by another
    program has the same hash. With `any_key` a transposed copy has it too.
    """
    notes = note_arrays(score)
    pitch = notes["pitch"]
    pitched = notes["program"] >= 0
    if any_key and pitched.any():
        pitch = np.where(pitched, pitch - pitch[pitched].min(), pitch)
    order = np.lexsort((notes["duration"], notes["program"], pitch, notes["onset"]))
    columns = [pitch, notes["program"]]
    for ticks in (notes["onset"], notes["duration"]):
        divisor = np.gcd(ticks, score.ticks_per_quarter)
        columns += [ticks // divisor, score.ticks_per_quarter // divisor]  # numerator and denominator in quarters
    return hashlib.sha256(np.stack(columns)[:, order].astype("<i8").tobytes()).hexdigest()


@cache
def _empty() -> "MinHash":
    from datasketch import MinHash

    # The scheme is named because signatures of another one cannot be compared; shingles are integers already.
    return MinHash(PERMUTATIONS, seed=1, scheme="affine32", hashfunc=int)


def near_signature(score: Score) -> np.ndarray | None:
    """MinHash signature of the piece, (128,) uint32, or None for fewer than MIN_SHINGLES different shingles.

    A shingle is three successive notes of the highest or of the lowest line: two intervals in semitones, and
    whether the second step in time is shorter than the first, equal or longer. So key, tempo, doubled or halved
    note values, velocities, instruments and the order of tracks do not count, and each missing note costs a few
    shingles. Drums are left out where there is anything else.
    """
    shingles = _shingles(score)
    if len(shingles) < MIN_SHINGLES:
        return None
    signature = _empty().copy()
    signature.update_batch(shingles.tolist())
    return signature.hashvalues


def plain_digest(score: Score) -> str:
    """content_hash in any key of a piece too repetitive for near_signature, "" for any other one.

    Its copies can be told by this alone; below MIN_PLAIN_NOTES notes strangers have it in common, so "" then.
    """
    if score.note_num() < MIN_PLAIN_NOTES or len(_shingles(score)) >= MIN_SHINGLES:
        return ""
    return content_hash(score, any_key=True)


def _shingles(score: Score) -> np.ndarray:
    """The different shingles as integers of 20 bits, sorted."""
    notes = note_arrays(score)
    pitched = notes["program"] >= 0
    kept = pitched if pitched.any() else ~pitched
    pitch = notes["pitch"][kept]
    seconds = seconds_at(score, notes["onset"][kept])
    if len(pitch) < 3:
        return np.zeros(0, np.int64)
    chord_seconds = _CHORD_SHARE * (seconds[-1] - seconds[0]) / len(seconds)
    first = np.flatnonzero(np.diff(seconds, prepend=-np.inf) > chord_seconds)
    if len(first) < 3:
        return np.zeros(0, np.int64)
    steps = np.diff(seconds[first])
    ratio = np.digitize(np.log2(steps[1:] / steps[:-1]), _RATIO_EDGES)
    codes: list[np.ndarray] = []
    for line in (np.maximum.reduceat(pitch, first), np.minimum.reduceat(pitch, first)):
        interval = np.diff(line) + 128
        codes.append(((len(codes) << 8 | interval[:-1]) << 8 | interval[1:]) << 2 | ratio)
    return np.unique(np.concatenate(codes))


def near_duplicate_groups(
    signatures: Mapping[str, np.ndarray], threshold: float = NEAR_THRESHOLD
) -> list[tuple[str, ...]]:
    """Sorted groups of two or more ids that are connected by pairs with an estimated similarity of `threshold` or more.

    `signatures` are those of `near_signature` by id. Candidates come from an index of bands (datasketch's
    MinHashLSH), which overlooks one in 1,000 of the pairs that lie right at the threshold, and fewer above it.
    Raises UserError for a threshold that is not above 0 and up to 1.
    """
    from datasketch import MinHashLSH

    if not 0 < threshold <= 1:
        raise UserError(f"near-duplicate threshold={threshold} is no share; set it above 0 and up to 1")
    ids = sorted(signatures)
    group_of = {key: key for key in ids}

    def root(key: str) -> str:
        while group_of[key] != key:
            group_of[key] = group_of[group_of[key]]
            key = group_of[key]
        return key

    index = MinHashLSH(num_perm=PERMUTATIONS, params=_bands(threshold))
    same: dict[bytes, str] = {}
    for key in ids:
        # Equal signatures stay out of the index: a thousand copies would be a million candidates.
        first = same.setdefault(signatures[key].tobytes(), key)
        if first != key:
            group_of[key] = first
            continue
        signature = _empty().copy()
        signature.hashvalues = signatures[key]
        for other in index.query(signature):
            if root(other) != root(key) and np.mean(signatures[other] == signatures[key]) >= threshold:
                group_of[root(key)] = root(other)
        index.insert(key, signature, check_duplication=False)
    groups: dict[str, list[str]] = {}
    for key in ids:
        groups.setdefault(root(key), []).append(key)
    return sorted(tuple(group) for group in groups.values() if len(group) > 1)


def _bands(threshold: float) -> tuple[int, int]:
    """Bands (two or more) and their rows: the longest of which one is equal often enough at the threshold."""
    rows = 1
    while rows < PERMUTATIONS // 2 and (1 - threshold ** (rows + 1)) ** (PERMUTATIONS // (rows + 1)) <= _MISSED:
        rows += 1
    return PERMUTATIONS // rows, rows


def group_by_pattern(ids: Iterable[str], pattern: str) -> dict[str, str]:
    """What the one group of the regular expression finds in each id (`re.search`), "" where it finds nothing.

    Raises UserError for an expression that cannot be read or that has not exactly one group.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(f"pattern {pattern!r} is no regular expression: {error}; see Python's re module") from error
    if expression.groups != 1:
        raise UserError(
            f"pattern {pattern!r} has {expression.groups} groups, exactly 1 is needed: "
            "put parentheses around the part that related files share"
        )
    found = ((key, expression.search(key)) for key in ids)
    return {key: (match.group(1) or "") if match else "" for key, match in found}
