"""Heat maps: the same bytes each time, darker where more, and no picture of tables that cannot be."""

import numpy as np
import pytest
from matplotlib.image import imread

from midifactory.render.heatmap import Shares, save_heatmaps

PNG = b"\x89PNG\r\n\x1a\n"


def panel(*values: list[float]) -> Shares:
    return Shares(np.array(values), [f"row {i}" for i in range(len(values))], [str(i) for i in range(len(values[0]))])


def blue(path) -> float:
    """The share of the picture that is clearly blue."""
    picture = imread(path)
    return float((picture[..., 2] - picture[..., 0] > 0.4).mean())


def test_a_picture_is_whole_and_the_same_each_time(tmp_path):
    panels = {f"layer {i}": panel([0.5, 0.25, 0.25], [1.0, 0.0, 0.0]) for i in range(4)}
    for name in ("one.png", "other.png"):
        save_heatmaps(panels, tmp_path / name, "Title $x", "expert")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(PNG)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "other.png"]


def test_the_greater_the_darker(tmp_path):
    save_heatmaps({"a": panel([1.0, 1.0], [1.0, 0.1])}, tmp_path / "much.png", "", "")
    save_heatmaps({"a": panel([1.0, 0.1], [0.1, 0.1])}, tmp_path / "little.png", "", "")
    assert blue(tmp_path / "much.png") > 2 * blue(tmp_path / "little.png") > 0


def test_nothing_to_share_is_drawn_as_nothing(tmp_path):
    save_heatmaps({"a": panel([0.0, 0.0])}, tmp_path / "none.png", "", "")
    assert blue(tmp_path / "none.png") == 0


def test_tables_that_cannot_be_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="no heat maps"):
        save_heatmaps({}, tmp_path / "a.png", "", "")
    with pytest.raises(ValueError, match=r"'a' has values of \(1, 2\); its names say 2 rows and 2 columns"):
        save_heatmaps({"a": Shares(np.zeros((1, 2)), ["x", "y"], ["0", "1"])}, tmp_path / "a.png", "", "")
    assert list(tmp_path.iterdir()) == []
