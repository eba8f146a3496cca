"""Piano rolls read back as pixels, and the corpus plots beside them."""

import time

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from symusic import Note, Score, Tempo, TimeSignature, Track

from midifactory.errors import UserError
from midifactory.render import pianoroll
from midifactory.render.pianoroll import save_pianoroll, save_pianorolls, track_label
from midifactory.render.plots import save_corpus_plots

TPQ = 480
BLUE, VERMILION = (np.array(to_rgb(colour)) for colour in pianoroll.TRACK_COLOURS[:2])
GREY = np.array(to_rgb(pianoroll.DRUM_COLOUR))


def _score(*tracks: Track) -> Score:
    score = Score(TPQ)
    score.tracks.extend(tracks)
    return score


def _track(*notes: tuple[int, int, int, int], name: str = "", program: int = 0, is_drum: bool = False) -> Track:
    track = Track(name=name, program=program, is_drum=is_drum)
    track.notes.extend([Note(*note) for note in notes])
    return track


def _draw(score, path, **keywords):
    save_pianoroll(score, path, **keywords)
    return imread(path)[:, :, :3]


def _plot_area(image):
    """The picture between the axes, by the margins that the module publishes (no title)."""
    left, right, top, bottom = (
        round(inches * pianoroll.DPI)
        for inches in (
            pianoroll.LEFT_INCHES,
            pianoroll.RIGHT_INCHES,
            pianoroll.TOP_INCHES,
            pianoroll.BOTTOM_INCHES,
        )
    )
    return image[top : image.shape[0] - bottom, left : image.shape[1] - right]


def _where(area, colour):
    """Bounding box (left, right, top, bottom) of a colour, as fractions of the area."""
    rows, columns = np.nonzero(np.abs(area - colour).max(axis=2) < 0.02)
    height, width = area.shape[:2]
    return columns.min() / width, (columns.max() + 1) / width, rows.min() / height, (rows.max() + 1) / height


def test_notes_are_where_they_sound(tmp_path):
    # One bar of 4/4: blue on beat 2 at C4, vermilion on beats 3 and 4 an octave higher.
    score = _score(_track((TPQ, TPQ, 60, 127)), _track((2 * TPQ, 2 * TPQ, 72, 127)))
    area = _plot_area(_draw(score, tmp_path / "roll.png"))
    left, right, top, bottom = _where(area, BLUE)
    assert (left, right) == pytest.approx((0.25, 0.5), abs=0.01)
    rows = 72 + 2 - (60 - 2) + 1  # two semitones of air, but an octave around the median at least
    assert (bottom + top) / 2 == pytest.approx((74.5 - 60) / rows, abs=0.02)
    left, right, upper_top, upper_bottom = _where(area, VERMILION)
    assert (left, right) == pytest.approx((0.5, 1.0), abs=0.01)
    assert (top + bottom - upper_top - upper_bottom) / 2 == pytest.approx(12 / rows, abs=0.02)


def test_soft_notes_are_paler_and_drums_grey(tmp_path):
    score = _score(_track((0, TPQ, 60, 127), (TPQ, TPQ, 60, 10)), _track((2 * TPQ, TPQ, 60, 127), is_drum=True))
    area = _plot_area(_draw(score, tmp_path / "roll.png"))
    row = area[round(area.shape[0] * 0.5)]
    loud, soft, drum = (row[round(len(row) * at)] for at in (0.125, 0.375, 0.625))
    assert np.abs(loud - BLUE).max() < 0.02
    assert soft[0] > loud[0] + 0.3
    assert np.abs(drum - GREY).max() < 0.02


def test_prompt_is_shaded_up_to_its_end(tmp_path):
    score = _score(_track((0, 8 * TPQ, 60, 100)))
    plain = _plot_area(_draw(score, tmp_path / "plain.png"))
    shaded = _plot_area(_draw(score, tmp_path / "shaded.png", prompt_end_tick=2 * TPQ))
    changed = np.abs(plain - shaded).max(axis=2).max(axis=0) > 0.01
    end = np.flatnonzero(changed).max() / len(changed)
    assert end == pytest.approx(0.25, abs=0.01)
    assert changed[: int(0.24 * len(changed))].mean() > 0.95


def test_same_score_same_bytes_and_no_global_state(tmp_path):
    score = _score(_track((0, TPQ, 60, 100)))
    before = dict(rcParams)
    save_pianoroll(score, tmp_path / "a.png", title="x")
    save_pianoroll(score, tmp_path / "b.png", title="x")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"Software" not in (tmp_path / "a.png").read_bytes()
    assert dict(rcParams) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_ten_thousand_notes_in_twenty_tracks(tmp_path):
    rng = np.random.default_rng(0)
    tracks = []
    for number in range(20):
        columns = rng.integers([0, 0, 0, 1], [TPQ * 2000, 900, 128, 128], size=(500, 4))
        name = f"A name that is longer than any legend has room for {number}"
        tracks.append(_track(*(tuple(map(int, row)) for row in columns), name=name, is_drum=number == 9))
    score = _score(*tracks)
    score.tempos.extend([Tempo(0, 90), Tempo(TPQ * 100, 180)])
    score.time_signatures.extend([TimeSignature(0, 6, 8), TimeSignature(TPQ * 300, 5, 4)])
    started = time.perf_counter()
    image = _draw(score, tmp_path / "roll.png", title="many")
    assert time.perf_counter() - started < 15
    assert image.shape[1] <= (pianoroll.MAX_WIDTH_INCHES + 1) * pianoroll.DPI


def test_hostile_names_and_titles(tmp_path, recwarn):
    score = _score(
        _track((0, TPQ, 60, 100), name="_$x^{ $ \x00\n"), _track((0, 0, 127, 1), name=""), _track((0, 1, 0, 127))
    )
    save_pianoroll(score, tmp_path / "roll.png", title="$\\frac{ 日本\nx", prompt_end_tick=10**9)
    assert not [warning for warning in recwarn if "matplotlib" in str(warning.filename)]
    assert [track_label(track) for track in score.tracks] == ["_$x^{ $", "Acoustic Grand Piano", "Acoustic Grand Piano"]


def test_several_scores_stand_below_each_other_on_the_same_scale(tmp_path):
    """One bar and two bars: the first score's bar is half as wide as the picture; the same pitch stands as high."""
    scores = [_score(_track((0, 4 * TPQ, 60, 127))), _score(_track((0, 8 * TPQ, 60, 127)))]
    for name in ("one.png", "other.png"):
        save_pianorolls(scores, tmp_path / name, ["0%", "100%"])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    area = _plot_area(imread(tmp_path / "one.png")[:, :, :3])
    upper, lower = area[: len(area) // 2], area[len(area) // 2 :]
    left, right, top, _ = _where(upper, BLUE)
    assert (left, right) == pytest.approx((0, 0.5), abs=0.01)
    left, right, lower_top, _ = _where(lower, BLUE)
    assert (left, right) == pytest.approx((0, 1), abs=0.01)
    assert lower_top == pytest.approx(top, abs=0.1)
    with pytest.raises(UserError, match="score 2 of 2 has 0 notes"):
        save_pianorolls([scores[0], _score(_track())], tmp_path / "none.png", ["0%", "100%"])
    assert not (tmp_path / "none.png").exists()


def test_no_notes_is_an_error_and_no_file(tmp_path):
    with pytest.raises(UserError, match="0 notes"):
        save_pianoroll(_score(_track()), tmp_path / "roll.png")
    assert list(tmp_path.iterdir()) == []


def test_corpus_plots_draw_counts_in_proportion(tmp_path):
    histograms = {"one": {"labels": ["a", "b"], "edges": None, "counts": [1, 4], "unit": "$letter"}}
    save_corpus_plots(histograms, tmp_path / "plots.png", "100 % $")
    save_corpus_plots(histograms, tmp_path / "again.png", "100 % $")
    assert (tmp_path / "plots.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    image = imread(tmp_path / "plots.png")[:, :, :3]
    heights = (np.abs(image - BLUE).max(axis=2) < 0.02).sum(axis=0)
    middle = image.shape[1] // 2
    assert heights[middle:].max() / heights[:middle].max() == pytest.approx(4, rel=0.05)


def test_corpus_plots_of_every_kind(tmp_path):
    histograms = {
        f"panel {number}": {"labels": None, "edges": [0, 0.5, 2.0], "counts": [3, 10**6], "unit": "beats"}
        for number in range(5)
    }
    histograms["empty"] = {"labels": [], "edges": None, "counts": [], "unit": ""}
    histograms["many"] = {"labels": [f"label {n}" for n in range(128)], "edges": None, "counts": [1] * 128, "unit": ""}
    save_corpus_plots(histograms, tmp_path / "plots.png", "corpus")
    assert imread(tmp_path / "plots.png").shape[0] > 300
    with pytest.raises(ValueError, match="'bad' has 2 counts"):
        save_corpus_plots(
            {"bad": {"labels": None, "edges": [0, 1], "counts": [1, 2], "unit": ""}}, tmp_path / "x.png", "x"
        )
    with pytest.raises(ValueError, match="no histograms"):
        save_corpus_plots({}, tmp_path / "x.png", "x")
