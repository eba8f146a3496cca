"""Oracles: copies made by hand, all pairs one by one, and the sets of shingles themselves."""

import re
from itertools import combinations

import numpy as np
import pytest
from symusic import Note, Score, Tempo, Track

from midifactory.errors import UserError
from midifactory.music import duplicates
from midifactory.music.duplicates import (
    content_hash,
    group_by_pattern,
    near_duplicate_groups,
    near_signature,
    plain_digest,
)

# --- equal music -----------------------------------------------------------------------------------------


def melody(pitches, program=0, ticks_per_quarter=480) -> Score:
    score = Score(ticks_per_quarter)
    track = Track(program=program)
    for index, pitch in enumerate(pitches):
        track.notes.append(Note(index * ticks_per_quarter, ticks_per_quarter // 2, pitch, 64 + index % 60))
    score.tracks.append(track)
    return score


def test_the_hash_is_of_the_music_and_not_of_the_file():
    copy = melody([60, 64, 67], ticks_per_quarter=960)
    copy.tracks[0].name = "another name"
    copy.tempos.append(Tempo(0, 77))
    copy.tracks[0].notes[0].velocity = 3
    assert content_hash(copy) == content_hash(melody([60, 64, 67]))


def test_the_hash_changes_with_pitch_time_length_and_instrument():
    later, longer, drums = melody([60, 64, 67]), melody([60, 64, 67]), melody([60, 64, 67])
    later.tracks[0].notes[2].time += 1
    longer.tracks[0].notes[2].duration += 1
    drums.tracks[0].is_drum = True
    others = [melody([60, 64, 68]), later, longer, drums, melody([60, 64, 67], program=5), melody([60, 64])]
    assert len({content_hash(score) for score in [melody([60, 64, 67]), *others]}) == 7


def test_a_transposed_copy_is_the_same_in_any_key_only():
    here, there = melody([60, 64, 67]), melody([65, 69, 72])
    assert content_hash(here) != content_hash(there)
    assert content_hash(here, any_key=True) == content_hash(there, any_key=True)
    assert content_hash(here, any_key=True) != content_hash(melody([60, 63, 67]), any_key=True)


def test_the_hash_stays_the_one_that_older_caches_hold():
    """A literal: every index of a corpus on disk compares with it."""
    assert content_hash(melody([60, 64, 67])).startswith("795628fc8a0c2460")
    assert content_hash(melody([60, 64, 67]), any_key=True).startswith("7077aa407e514fdb")


# --- near copies -----------------------------------------------------------------------------------------


def line(rng: np.random.Generator, low: int, high: int, beats: int) -> list[Note]:
    """A tune of eighths, quarters and halves in small steps; times in ticks of 480 a quarter."""
    notes, time, pitch = [], 0, (low + high) // 2
    while time < beats * 480:
        duration = int(rng.choice([240, 480, 480, 960]))
        pitch = int(np.clip(pitch + rng.choice([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5]), low, high))
        notes.append(Note(time, duration, pitch, int(rng.integers(40, 100))))
        time += duration
    return notes


def two_part_piece(tune_seed: int, bass_seed: int) -> Score:
    score = Score(480)
    score.tempos.append(Tempo(0, 100))
    for program, notes in (
        (73, line(np.random.default_rng(tune_seed), 64, 88, 128)),
        (32, line(np.random.default_rng(bass_seed), 30, 54, 128)),
    ):
        track = Track(program=program)
        track.notes.extend(notes)
        score.tracks.append(track)
    return score


def piece(seed: int) -> Score:
    return two_part_piece(seed, seed + 1000)


def changed(score: Score, change) -> Score:
    """A copy whose every note went through `change`, which gives a note or None."""
    copy = score.copy()
    for track in copy.tracks:
        track.notes = type(track.notes)([new for note in track.notes if (new := change(note)) is not None])
    return copy


def transposed(score: Score, rng: np.random.Generator) -> Score:
    return changed(score, lambda note: Note(note.time, note.duration, note.pitch + 3, note.velocity))


def faster(score: Score, rng: np.random.Generator) -> Score:
    copy = score.copy()
    copy.tempos[0].qpm *= 1.1
    return copy


def doubled(score: Score, rng: np.random.Generator) -> Score:
    return changed(score, lambda note: Note(2 * note.time, 2 * note.duration, note.pitch, note.velocity))


def louder_and_reordered(score: Score, rng: np.random.Generator) -> Score:
    copy = changed(score, lambda note: Note(note.time, note.duration, note.pitch, 127))
    copy.tracks = type(copy.tracks)(list(copy.tracks)[::-1])
    return copy


def played(score: Score, rng: np.random.Generator) -> Score:
    """Every onset up to 10 ms early or late: 8 ticks at 100 bpm."""
    return changed(
        score,
        lambda note: Note(max(0, note.time + int(rng.integers(-8, 9))), note.duration, note.pitch, note.velocity),
    )


def thinned(score: Score, rng: np.random.Generator) -> Score:
    return changed(score, lambda note: None if rng.random() < 0.05 else note)


def shortened(score: Score, rng: np.random.Generator) -> Score:
    return changed(score, lambda note: note if note.time < 0.9 * 128 * 480 else None)


@pytest.mark.parametrize("change", [transposed, faster, doubled, louder_and_reordered])
def test_signatures_do_not_hear_key_tempo_note_values_loudness_or_order_of_tracks(change):
    for seed in range(5):
        score = piece(seed)
        np.testing.assert_array_equal(near_signature(change(score, np.random.default_rng(0))), near_signature(score))


@pytest.mark.parametrize("change", [played, thinned, shortened])
def test_a_copy_with_small_changes_is_found(change):
    rng = np.random.default_rng(3)
    signatures = {}
    for seed in range(12):
        signatures[f"{seed:02} original"] = near_signature(piece(seed))
        signatures[f"{seed:02} copy"] = near_signature(change(piece(seed), rng))
    assert near_duplicate_groups(signatures) == [(f"{seed:02} copy", f"{seed:02} original") for seed in range(12)]


def test_one_tune_over_two_basses_is_no_copy():
    signatures = {f"{tune} {bass}": near_signature(two_part_piece(tune, bass)) for tune in (0, 1, 2) for bass in (7, 8)}
    assert near_duplicate_groups(signatures) == []


def test_the_share_of_equal_minima_estimates_the_jaccard_similarity():
    """Its standard deviation is at most 0.5 / sqrt(128) = 0.044."""
    rng = np.random.default_rng(0)
    original, copy = piece(1), piece(1)
    for _ in range(5):
        copy = thinned(copy, rng)
        first, second = (set(duplicates._shingles(score).tolist()) for score in (original, copy))
        estimated = np.mean(near_signature(original) == near_signature(copy))
        assert estimated == pytest.approx(len(first & second) / len(first | second), abs=0.16)


def test_shingles_by_hand():
    """Up 2, down 1, up 5 in quarter, eighth, half, half: shorter, longer, the same; one line is both lines."""
    notes = [Note(0, 9, 60, 64), Note(480, 9, 62, 64), Note(720, 9, 61, 64), Note(1680, 9, 66, 64)]
    score = Score(480)
    score.tracks.append(Track())
    score.tracks[0].notes.extend([*notes, Note(2640, 9, 66, 64)])

    def code(line, first, second, ratio):
        return (((line * 256 + first + 128) * 256) + second + 128) * 4 + ratio

    expected = [code(line, *rest) for line in (0, 1) for rest in ((2, -1, 0), (-1, 5, 2), (5, 0, 1))]
    assert sorted(duplicates._shingles(score).tolist()) == sorted(expected)


@pytest.mark.parametrize("pitches", [[], [60], [60, 62], [60] * 200, list(range(60, 70))])
def test_too_short_or_too_plain_for_a_signature(pitches):
    assert near_signature(melody(pitches)) is None


def test_one_chord_has_no_shingles():
    score = Score(480)
    score.tracks.append(Track())
    score.tracks[0].notes.extend([Note(0, 480, pitch, 64) for pitch in range(40, 80)])
    assert near_signature(score) is None


def test_drums_have_signatures_of_their_own_and_do_not_count_beside_others():
    drums = piece(0)
    for track in drums.tracks:
        track.is_drum = True
    assert near_signature(drums) is not None
    both = piece(1)
    both.tracks.append(drums.tracks[0])
    np.testing.assert_array_equal(near_signature(both), near_signature(piece(1)))


def related_signatures(rng: np.random.Generator, families: int, members: int) -> dict[str, np.ndarray]:
    signatures = {}
    for family in range(families):
        first = rng.integers(0, 2**32, 128, dtype=np.uint32)
        for member in range(members):
            copy = first.copy()
            places = rng.permutation(128)[: rng.integers(0, 80)]
            copy[places] = rng.integers(0, 2**32, len(places), dtype=np.uint32)
            signatures[f"{family}/{member}"] = copy
    return signatures


@pytest.mark.parametrize("threshold", [0.3, 0.55, 0.8, 1.0])
def test_groups_are_the_components_of_all_pairs(threshold):
    signatures = related_signatures(np.random.default_rng(1), 40, 5)
    signatures["the same again"] = signatures["0/0"].copy()
    component = {key: {key} for key in signatures}
    for a, b in combinations(signatures, 2):
        if (signatures[a] == signatures[b]).mean() >= threshold and component[a] is not component[b]:
            component[a] |= component[b]
            for key in component[b]:
                component[key] = component[a]
    expected = sorted({tuple(sorted(group)) for group in component.values() if len(group) > 1})
    assert expected
    found = near_duplicate_groups(signatures, threshold)
    assert found == expected
    assert near_duplicate_groups(dict(reversed(signatures.items())), threshold) == found


def test_thousands_of_equal_signatures_are_one_group_at_once():
    same = near_signature(piece(0))
    (group,) = near_duplicate_groups({str(index): same for index in range(20_000)})
    assert len(group) == 20_000


@pytest.mark.parametrize("threshold", [0, -0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_share(threshold):
    with pytest.raises(UserError, match=re.escape(f"threshold={threshold}")):
        near_duplicate_groups({}, threshold)


# --- related names ---------------------------------------------------------------------------------------


def test_groups_by_name():
    ids = ["bach/846 fugue.mid", "bach/846 prelude.mid", "liszt.mid", "x/847.mid"]
    assert group_by_pattern(ids, r"/(\d+)") == {ids[0]: "846", ids[1]: "846", ids[2]: "", ids[3]: "847"}
    assert group_by_pattern(["a"], "a(b)?") == {"a": ""}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(a", "no regular expression"), ("abc", "0 groups"), ("(a)(b)", "2 groups"), ("(?:a)", "0 groups")],
)
def test_patterns_that_group_nothing_are_refused(pattern, message):
    with pytest.raises(UserError, match=message):
        group_by_pattern(["a"], pattern)


def test_repetitive_music_has_a_digest_in_place_of_a_signature():
    ostinato = melody([60, 67, 64, 67] * 25)
    assert near_signature(ostinato) is None
    digest = plain_digest(ostinato)
    assert digest
    assert plain_digest(transposed(ostinato, np.random.default_rng(0))) == digest
    assert plain_digest(melody([60, 67, 65, 67] * 25)) not in ("", digest)
    assert plain_digest(melody([60, 67, 64, 67] * 12)) == ""  # 48 notes
    assert plain_digest(piece(0)) == ""
