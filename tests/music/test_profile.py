"""The profile of a hand-made corpus, every number worked out by hand."""

import pytest

from midifactory.music.profile import corpus_profile
from midifactory.music.score import save_score


def test_a_hand_made_corpus(tmp_path, score_from):
    """Three files: a flute in all of them, drums in one, a violin in one."""

    def flute(velocity):
        return (73, [(beat, 1, 60 + beat, velocity) for beat in range(11)])  # pitches 60 to 70

    drums = (-1, [(beat, 0.25, 36, 40) for beat in range(4)])
    violin = (40, [(beat, 1, 80, 70) for beat in range(3)])
    save_score(score_from([flute(70)], ((0, 100), (2, 180)), ((0, 3, 4),)), tmp_path / "a.mid")
    save_score(score_from([flute(80), drums], ((0, 90),), ((0, 4, 4),)), tmp_path / "b.mid")
    save_score(score_from([flute(90), violin], ((0, 60),), ((0, 3, 4), (6, 4, 4))), tmp_path / "c.mid")
    profile = corpus_profile(sorted(tmp_path.iterdir()))
    assert profile["tempo_bpm"] == pytest.approx(90, abs=1e-3)
    assert profile["metre"] == "3/4"
    assert profile["velocity"] == 80
    assert [row["program"] for row in profile["programs"]] == [73, -1, 40]
    assert [row["share"] for row in profile["programs"]] == [
        pytest.approx(count / 40, abs=1e-4) for count in (33, 4, 3)
    ]
    flutes = profile["programs"][0]
    assert (flutes["lowest"], flutes["middle"], flutes["highest"]) == (60, 65, 70)


def test_a_program_in_less_than_a_tenth_of_the_files_is_left_out(tmp_path, score_from):
    for index in range(11):
        tracks = [(0, [(0, 1, 60 + index, 80)])]
        if index == 3:
            tracks.append((5, [(beat, 1, 70, 80) for beat in range(100)]))
        save_score(score_from(tracks), tmp_path / f"{index:02}.mid")
    assert [row["program"] for row in corpus_profile(sorted(tmp_path.iterdir()))["programs"]] == [0]


def test_files_without_tempo_and_metre_are_read_as_the_standard_says(tmp_path, score_from):
    save_score(score_from([(0, [(0, 1, 60, 80)])], (), ()), tmp_path / "a.mid")
    profile = corpus_profile([tmp_path / "a.mid"])
    assert (profile["tempo_bpm"], profile["metre"]) == (120, "4/4")


def test_unreadable_files_are_passed_over_and_nothing_gives_defaults(tmp_path, score_from):
    (tmp_path / "broken.mid").write_bytes(b"no music")
    empty = corpus_profile([tmp_path / "broken.mid"])
    assert empty == {"tempo_bpm": 120, "metre": "4/4", "velocity": 80, "programs": []}
    save_score(score_from([(0, [(0, 1, 60, 33)])], ((0, 75),)), tmp_path / "good.mid")
    both = corpus_profile([tmp_path / "broken.mid", tmp_path / "good.mid"])
    assert (both["tempo_bpm"], both["velocity"]) == (pytest.approx(75, abs=1e-3), 33)
