"""Hand-made scores whose every onset is known, and one tokenizer for the whole session."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from symusic import Note, Score, Tempo, TimeSignature, Track

from midifactory.music.score import save_score
from midifactory.tokens.engines import Preparation
from midifactory.tokens.store import TokenStore, build_store
from midifactory.tokens.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
DRUMS = -1
TICKS = 480
Notes = Iterable[tuple[float, float, int, int]]  # onset in quarters, duration in quarters, pitch, velocity


def make_score(
    tracks: Iterable[tuple[int, Notes]],
    tempos: Iterable[tuple[float, float]] = ((0, 120),),
    metres: Iterable[tuple[float, int, int]] = ((0, 4, 4),),
) -> Score:
    """A Score from (program, notes) pairs, (onset, bpm) tempos and (onset, numerator, denominator) metres."""
    score = Score(TICKS)
    for program, notes in tracks:
        track = Track(program=max(0, program), is_drum=program == DRUMS)
        for onset, duration, pitch, velocity in notes:
            track.notes.append(Note(round(onset * TICKS), round(duration * TICKS), pitch, velocity))
        score.tracks.append(track)
    for onset, bpm in tempos:
        score.tempos.append(Tempo(round(onset * TICKS), bpm))
    for onset, numerator, denominator in metres:
        score.time_signatures.append(TimeSignature(round(onset * TICKS), numerator, denominator))
    return score


def _four_voices() -> Score:
    """Four instruments, eight bars; at every eighth quarter all four sing the same pitch."""
    lines = []
    for voice, program in enumerate((73, 68, 71, 70)):
        notes = [
            (beat, 1, 60 if beat % 8 == 0 else 72 - 7 * voice + (beat * 3 + voice) % 5, 70 + voice)
            for beat in range(32)
        ]
        lines.append((program, notes))
    return make_score(lines, tempos=((0, 90),))


def _piano_chords() -> Score:
    """Triads of every length of grid, and a melody in triplets and sixteenths over them."""
    chords = [(4 * bar, 2.5, 48 + root + third, 64) for bar, root in enumerate((0, 5, 7, 9)) for third in (0, 4, 7)]
    triplets = [(4 * bar + step / 3, 1 / 3, 72 + step, 90) for bar in range(4) for step in range(6)]
    sixteenths = [(4 * bar + 2 + step / 4, 0.25, 79 - step, 100) for bar in range(4) for step in range(8)]
    return make_score([(0, chords + triplets + sixteenths)])


def _drums() -> Score:
    """Drums and a bass: one pitch on both, since 36 means another thing on each."""
    kit = [(half / 2, 0.25, 42 if half % 2 else 36, 80) for half in range(32)]
    snare = [(beat, 0.25, 38, 110) for beat in range(1, 16, 2)]
    return make_score([(DRUMS, kit + snare), (33, [(2 * i, 1.5, 36 + i, 75) for i in range(8)])], tempos=((0, 100),))


def _metres() -> Score:
    """Two bars of 4/4, three of 3/4, four of 6/8: an onset at every quarter, then at every eighth."""
    quarters = [(beat, 1, 60 + beat % 12, 80) for beat in range(17)]
    eighths = [(17 + i / 2, 0.5, 64 + i % 6, 80) for i in range(24)]
    return make_score([(0, quarters + eighths)], metres=((0, 4, 4), (8, 3, 4), (17, 6, 8)))


def _tempos() -> Score:
    """Four tempos, one of them between two notes, with eighths throughout."""
    return make_score(
        [(0, [(i / 2, 0.5, 60 + i % 7, 80) for i in range(32)])],
        tempos=((0, 120), (4, 60), (7.5, 150), (12.25, 84)),
    )


def _long_rest() -> Score:
    """Silence of five quarters at the start, of 13 in the middle, and of exactly three bars later on."""
    onsets = [5, 6, 7.5, 8, 22, 23, 24, 25, 26, 27, 40, 41, 42.5]
    return make_score([(0, [(onset, 1, 55 + i, 80) for i, onset in enumerate(onsets)])], tempos=((0, 96),))


def _metre_after_rest() -> Score:
    """Two bars of silence up to a change of metre."""
    first = [(beat, 1, 60 + beat, 80) for beat in range(4)]
    second = [(12 + beat, 1, 67 + beat, 80) for beat in range(6)]
    return make_score([(0, first + second)], metres=((0, 4, 4), (12, 3, 4)))


SCORES: dict[str, Callable[[], Score]] = {
    "four_voices": _four_voices,
    "piano_chords": _piano_chords,
    "drums": _drums,
    "metres": _metres,
    "tempos": _tempos,
    "long_rest": _long_rest,
    "metre_after_rest": _metre_after_rest,
}


@pytest.fixture(params=list(SCORES))
def hand_score(request: pytest.FixtureRequest) -> Score:
    """Each hand-made score in turn."""
    return SCORES[request.param]()


@pytest.fixture
def hand_scores() -> dict[str, Score]:
    """All hand-made scores by name."""
    return {name: make() for name, make in SCORES.items()}


@pytest.fixture
def score_from() -> Callable[..., Score]:
    """`make_score`, for tests with a score of their own."""
    return make_score


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """The tokenizer of conf/tokenizer/remi_plus.yaml."""
    return instantiate(OmegaConf.load(ROOT / "conf/tokenizer/remi_plus.yaml"), _convert_="all")


@pytest.fixture(scope="session")
def midi_files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """The hand-made scores as files: (id, path), not to be changed."""
    folder = tmp_path_factory.mktemp("midi")
    for name, make in SCORES.items():
        save_score(make(), folder / f"{name}.mid")
    return [(path.stem, path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="session")
def store(
    midi_files: list[tuple[str, Path]], tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> TokenStore:
    """All hand-made scores, tokenised."""
    return build_store(
        midi_files, tokenizer, tmp_path_factory.mktemp("store"), "hand", Preparation(workers=0), progress=False
    )
