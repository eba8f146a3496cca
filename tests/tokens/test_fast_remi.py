"""Oracle: MidiTok, called as Tokenizer.quantise and Tokenizer.encode call it, on random scores, by settings."""

from pathlib import Path

import miditok
import numpy as np
import pytest
from miditok import MusicTokenizer
from omegaconf import OmegaConf
from symusic import ControlChange, Note, Score, Tempo, TimeSignature, Track

from midifactory.tokens.fast_remi import FastRemi
from midifactory.tokens.tokenizer import Tokenizer

CONFIG = Path(__file__).resolve().parents[2] / "conf/tokenizer/remi_plus.yaml"
METRES = [(4, 4), (3, 4), (2, 4), (7, 4), (6, 8), (7, 8), (12, 8), (2, 2), (9, 16), (5, 32)]
CHORDS = [(0, 4, 7), (0, 3, 7), (0, 3, 6), (0, 4, 7, 11), (0, 5, 7), (0, 7, 16), (0, 4, 7, 11, 14), (0, 1, 2, 3, 4, 5)]
CHORDS.append(tuple(range(13)))  # more notes than MidiTok looks at for one chord
RANGES = {2: [2, 3], 4: [1, 2, 3, 4, 5, 6, 7], 8: [3, 6, 7, 12], 16: [9]}
CHANGES = {
    "default": {},
    "bare": dict.fromkeys(("use_rests", "use_chords", "use_tempos", "use_time_signatures", "use_velocities"), False),
    "without rests": {"use_rests": False},
    "without chords": {"use_chords": False},
    "without tempos": {"use_tempos": False},
    "without metres": {"use_time_signatures": False},
    "neither tempos nor metres": {"use_tempos": False, "use_time_signatures": False},
    "without velocities": {"use_velocities": False},
    "without PitchDrum": {"use_pitchdrum_tokens": False, "drums_pitch_range": [40, 50]},
    "coarse": {
        "beat_res": {"0-1": 8, "1-3": 4, "3-5": 1},
        "beat_res_rest": {"0-2": 4},
        "num_velocities": 5,
        "pitch_range": [48, 72],
        "tempo_range": [60, 180],
        "num_tempos": 9,
        "log_tempos": True,
    },
    "metres from halves to sixteenths": {"time_signature_range": RANGES},
    "unknown chords": {"chord_unknown": [3, 6], "beat_res": {"0-2": 12, "2-8": 6, "8-20": 3}},
    "chords without roots": {"chord_tokens_with_root_note": False, "beat_res": {"0-4": 4}, "beat_res_rest": {"0-8": 2}},
    "equal changes kept": {
        "delete_equal_successive_tempo_changes": False,
        "delete_equal_successive_time_sig_changes": False,
    },
    "few programs": {"programs": [-1, 0, 24]},
}


def make_tokenizer(**changes) -> Tokenizer:
    fields = OmegaConf.to_container(OmegaConf.load(CONFIG))
    del fields["_target_"]
    return Tokenizer(**fields | changes)


def miditok_encoding(tokenizer: Tokenizer, score: Score) -> tuple[list[int], list[int], int]:
    quantised = tokenizer.quantise(score)
    sequence = tokenizer.miditok.encode(quantised, encode_ids=False, no_preprocess_score=True)
    return sequence.ids, [int(event.time) for event in sequence.events], quantised.ticks_per_quarter


def assert_equal(tokenizer: Tokenizer, fast: FastRemi, score: Score) -> np.ndarray:
    ids, ticks, ticks_per_quarter = miditok_encoding(tokenizer, score)
    before = score.copy()
    encoding = fast.encode(score)
    assert score == before
    assert encoding.ids.dtype == encoding.event_ticks.dtype == np.int64
    expected = list(zip((tokenizer.tokens[i] for i in ids), ticks, strict=True))
    found = list(zip((tokenizer.tokens[i] for i in encoding.ids), encoding.event_ticks.tolist(), strict=True))
    assert found == expected
    assert encoding.ticks_per_quarter == ticks_per_quarter
    return encoding.ids


def random_track(rng: np.random.Generator, beat: int) -> Track:
    """Chords, now and then broken by a little; lines; pauses; duplicates; pitches of all ranges."""
    program = int(rng.choice([-1, 0, 0, 24, 40]))
    track = Track(program=max(program, 0), is_drum=program == -1)
    tick = int(rng.choice([0, 0, beat, 9 * beat + 5, 40 * beat]))
    for _ in range(int(rng.integers(0, 40))):
        tick += int(rng.choice([0, beat // 12 + 1, beat // 3, beat // 2, beat, 3 * beat, 30 * beat], p=WAITS))
        duration = int(rng.choice([1, beat // 4, beat // 2, beat - 1, beat, 5 * beat, 100 * beat]))
        low = int(rng.integers(15, 108))
        broken = int(rng.choice([0, 0, beat // 12, beat // 5]))
        for voice, step in enumerate(CHORDS[rng.integers(len(CHORDS))] if rng.random() < 0.6 else (0, 0)):
            pitch = min(low + step, 127)
            length = max(1, duration + int(rng.choice([0, 0, 0, beat // 3, beat])))
            track.notes.append(Note(tick + voice * broken, length, pitch, int(rng.integers(0, 128))))
    track.notes.sort()
    track.controls.append(ControlChange(int(rng.integers(0, 500 * beat)), 64, 100))
    return track


WAITS = [0.1, 0.2, 0.2, 0.2, 0.2, 0.08, 0.02]


def random_score(seed: int) -> Score:
    rng = np.random.default_rng(seed)
    beat = int(rng.choice([12, 24, 96, 100, 220, 480, 1024]))
    score = Score(beat)
    for _ in range(int(rng.integers(1, 6))):
        score.tracks.append(random_track(rng, beat))
    for tick in np.sort(rng.integers(0, 60 * beat, rng.integers(0, 8)) * rng.integers(0, 2)).tolist():
        score.tempos.append(Tempo(tick, float(rng.choice([20, 60.5, 119.9, 120, 120.4, 187, 400]))))
    # Metres change on a bar line, off it, twice at a tick, and after the last note.
    ticks = np.sort(rng.choice([0, 4, 7, 8.3, 12, 20, 20, 21.5, 40, 700], rng.integers(0, 7)) * beat)
    for tick in ticks.astype(int).tolist():
        score.time_signatures.append(TimeSignature(tick, *METRES[rng.integers(len(METRES))]))
    return score


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_random_scores_give_miditoks_tokens_and_ticks(changes):
    tokenizer = make_tokenizer(**changes)
    fast = FastRemi(tokenizer.miditok)
    seen: set[int] = set()
    for seed in range(40):
        seen |= set(assert_equal(tokenizer, fast, random_score(seed)).tolist())
    # All kinds of tokens occur, else the comparison would say little.
    assert {tokenizer.types[i] for i in seen} == set(tokenizer.types) - {"PAD", "BOS", "EOS"}


def test_a_tokenizer_read_from_json_gives_miditoks_tokens():
    tokenizer = Tokenizer.from_json(make_tokenizer().to_json())
    for seed in range(5):
        assert_equal(tokenizer, FastRemi(tokenizer.miditok), random_score(seed))


@pytest.mark.parametrize("tracks", [0, 1])
def test_without_notes(tracks):
    tokenizer = make_tokenizer()
    score = Score(480)
    score.time_signatures.append(TimeSignature(960, 3, 4))
    for _ in range(tracks):
        score.tracks.append(Track())
        score.tracks[-1].notes.append(Note(100, 100, 5, 64))
    assert_equal(tokenizer, FastRemi(tokenizer.miditok), score)


def piano(*notes: tuple[int, int, int], ticks_per_quarter: int = 480) -> Score:
    score = Score(ticks_per_quarter)
    score.tracks.append(Track())
    for tick, duration, pitch in notes:
        score.tracks[0].notes.append(Note(tick, duration, pitch, 64))
    return score


@pytest.mark.parametrize(
    ("changes", "score"),
    [
        ({"time_signature_range": {"4": [3]}}, piano((0, 480, 60))),  # MidiTok begins in 4/4, which has no token
        ({"chord_unknown": [3, 4]}, piano(*((0, 480, 60 + step) for step in range(5)))),
    ],
    ids=["metre", "chord"],
)
def test_what_miditok_refuses_is_refused(changes, score):
    tokenizer = make_tokenizer(**changes)
    with pytest.raises(KeyError):
        miditok_encoding(tokenizer, score)
    with pytest.raises(ValueError, match="vocabulary"):
        FastRemi(tokenizer.miditok).encode(score)


def late_note() -> Score:
    return piano((0, 12, 60), (2**31 - 10, 12, 60), ticks_per_quarter=12)  # its end overflows MidiTok's integers


def unsorted_notes() -> Score:
    score = piano((48000, 480, 60), (0, 480, 62))
    score.time_signatures.extend([TimeSignature(0, 4, 4), TimeSignature(3840, 6, 8)])
    return score


def no_ticks() -> Score:
    score = piano((0, 480, 60))
    score.ticks_per_quarter = 0
    return score


@pytest.mark.parametrize("make", [late_note, unsorted_notes, no_ticks])
def test_scores_it_does_not_vouch_for_are_refused(make):
    with pytest.raises(ValueError):  # noqa: PT011
        FastRemi(make_tokenizer().miditok).encode(make())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use_sustain_pedals": True}, "use_sustain_pedals=true"),
        ({"use_pitch_bends": True}, "use_pitch_bends=true"),
        ({"use_control_changes": True}, "use_control_changes=true"),
        ({"use_pitch_intervals": True}, "use_pitch_intervals=true"),
        ({"use_key_signatures": True}, "use_key_signatures=true"),
        ({"program_changes": True}, "program_changes=true"),
        ({"remove_duplicated_notes": False}, "remove_duplicated_notes=false"),
        ({"additional_params": {"max_bar_embedding": 0}}, "max_bar_embedding=0"),
        ({"additional_params": {"use_bar_end_tokens": True}}, "use_bar_end_tokens=True"),
        ({"additional_params": {"add_trailing_bars": True}}, "add_trailing_bars=True"),
        ({"use_rests": False, "use_note_duration_programs": [0]}, "use_note_duration_programs"),
        ({"beat_res": {"0-4": 12, "2-8": 4}}, "beat_res"),
        ({"beat_res_rest": {"2-12": 2, "0-1": 12}}, "beat_res_rest"),
        ({"chord_maps": {"maj": [0, 4, 7]}}, None),  # Tokenizer makes a tuple of it
        ({"scheme": "TSD"}, "TSD"),
    ],
)
def test_unsupported_settings_are_named(changes, reason):
    inner: MusicTokenizer = make_tokenizer(**changes).miditok
    found = FastRemi.unsupported(inner)
    assert found is None if reason is None else reason in found
    if reason is not None:
        with pytest.raises(ValueError, match=reason):
            FastRemi(inner)


def test_another_miditok_is_not_vouched_for(monkeypatch):
    inner = make_tokenizer().miditok
    monkeypatch.setattr("midifactory.tokens.fast_remi.CURRENT_MIDITOK_VERSION", "3.0.6")
    assert "3.0.6" in FastRemi.unsupported(inner)


def test_a_subclass_is_not_vouched_for():
    class Another(miditok.REMI):
        """It might order its events otherwise."""

    assert "Another" in FastRemi.unsupported(Another())
