"""Panels as pixels: what a reader must see of a histogram."""

import numpy as np
from matplotlib.image import imread

from midifactory.render.plots import save_corpus_plots

BLUE = np.array([0x00, 0x72, 0xB2]) / 255


def blue(path):
    return np.abs(imread(path)[:, :, :3] - BLUE).max(axis=2) < 0.02


def test_long_labels_lie_beside_bars_that_grow_to_the_right(tmp_path):
    labels = [f"instrument of number {number}" for number in range(5)]
    save_corpus_plots({"one": {"labels": labels, "counts": [5, 4, 3, 2, 1]}}, tmp_path / "a.png", "x")
    widths = blue(tmp_path / "a.png").sum(axis=1)
    rows = [part for part in np.split(widths, np.flatnonzero(np.diff(widths)) + 1) if part[0]]
    longest = [part[0] for part in rows if len(part) > 3]
    assert longest == sorted(longest, reverse=True)  # the first label's bar is on top
    np.testing.assert_allclose(np.array(longest) / longest[-1], [5, 4, 3, 2, 1], rtol=0.05)


def test_every_chooses_the_labels_and_nothing_else(tmp_path):
    histogram = {"labels": list(range(128)), "counts": [1] * 128}
    for every in (12, 64):
        save_corpus_plots({"one": {**histogram, "every": every}}, tmp_path / f"{every}.png", "x")
    few, many = (imread(tmp_path / f"{every}.png") for every in (64, 12))
    assert few.shape == many.shape
    assert (few < 0.5).any(axis=2).sum() < (many < 0.5).any(axis=2).sum()  # less ink
