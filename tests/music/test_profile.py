"""The profile of a hand-made corpus, every number worked out by hand."""

import pytest

from midifactory.music import profile as profile_module
from midifactory.music.profile import ProfileTally, corpus_profile, tessitura
from midifactory.music.score import Limits, UnreadableMidi, save_score


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
    assert empty == {"tempo_bpm": 120, "metre": "4/4", "velocity": 80, "programs": [], "tessitura": None}
    save_score(score_from([(0, [(0, 1, 60, 33)])], ((0, 75),)), tmp_path / "good.mid")
    both = corpus_profile([tmp_path / "broken.mid", tmp_path / "good.mid"])
    assert (both["tempo_bpm"], both["velocity"]) == (pytest.approx(75, abs=1e-3), 33)


def tally_of(*scores):
    tally = ProfileTally()
    for score in scores:
        tally.add(score)
    return tally


def test_the_tessitura_is_the_lowest_and_highest_pitch(score_from):
    flute = (73, [(beat, 1, 60 + beat % 30, 80) for beat in range(120)])
    bass = (33, [(beat, 1, 28 + beat % 12, 80) for beat in range(120)])
    bells = (14, [(beat, 1, 100, 80) for beat in range(5)])  # too few for a range of their own
    drums = (-1, [(beat, 1, 120, 80) for beat in range(200)])
    profile = tally_of(score_from([flute, bass]), score_from([bells, drums])).profile()
    assert tessitura(profile) == ((28, 100), {73: (60, 89), 33: (28, 39)})


@pytest.mark.parametrize(("strays", "expected"), [(1, (40, 59)), (5, (40, 125))])
def test_a_stray_among_thousands_is_left_out(score_from, strays, expected):
    many = [(0, [(beat, 1, 40 + beat % 20, 80) for beat in range(5000)] + [(0, 1, 125, 80)] * strays)]
    few = [(0, [(beat, 1, 40 + beat % 20, 80) for beat in range(1000)] + [(0, 1, 125, 80)])]
    assert tessitura(tally_of(score_from(many)).profile())[0] == expected
    assert tessitura(tally_of(score_from(few)).profile())[0] == (40, 125)


def test_profiles_of_old_checkpoints_and_of_drums_bind_nothing(score_from):
    assert tessitura({"tempo_bpm": 120.0, "metre": "4/4", "velocity": 80, "programs": []}) == (None, {})
    assert tessitura(tally_of(score_from([(-1, [(0, 1, 36, 80)])])).profile()) == (None, {})


def test_parts_merge_to_the_whole(hand_scores):
    scores = list(hand_scores.values())
    whole, first, second = tally_of(*scores), tally_of(*scores[:3]), tally_of(*scores[3:])
    first.merge(second)
    assert first.profile() == whole.profile()


def test_limits_hold_here_too(tmp_path, score_from):
    save_score(score_from([(0, [(beat, 1, 60, 80) for beat in range(3)])]), tmp_path / "a.mid")
    save_score(score_from([(40, [(beat, 1, 60, 80) for beat in range(9)])]), tmp_path / "b.mid")
    paths = sorted(tmp_path.iterdir())
    assert [row["program"] for row in corpus_profile(paths)["programs"]] == [40, 0]
    assert [row["program"] for row in corpus_profile(paths, Limits(max_notes=5))["programs"]] == [0]


@pytest.mark.parametrize(("files", "read"), [(500, 500), (501, 251), (999, 500), (1001, 334)])
def test_no_more_files_than_said_are_read(tmp_path, files, read, monkeypatch):
    seen = []

    def refuse(path, limits):
        seen.append(path)
        raise UnreadableMidi("not now")

    monkeypatch.setattr(profile_module, "load_score", refuse)
    corpus_profile([tmp_path / str(number) for number in range(files)])
    assert len(seen) == read


def test_a_tempo_of_no_length_is_no_tempo(score_from):
    score = score_from([(0, [(0, 1, 60, 80)])], tempos=((0, float("inf")),))
    assert tally_of(score).profile()["tempo_bpm"] == 120
