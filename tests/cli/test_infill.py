"""`midifactory infill`, `add_track` and `harmonise`, with a model trained for a second."""

import json
from pathlib import Path

import pytest
from symusic import Score, Track

from cli.conftest import TINY, VOICES, run_command, write_choir, write_folder, write_midi

QUICK = ("piano_roll=false", "audio=false")


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with a choir's files, a model that infills, and one that was not trained for it."""
    folder = tmp_path_factory.mktemp("desk")
    write_folder(folder / "my_midis")
    (folder / "choir").mkdir()
    for number in range(12):
        write_choir(folder / "choir" / f"{'x' * number}{number}.mid")
    write_choir(folder / "a song.mid", 8)
    write_choir(folder / "melody.mid", 4, VOICES[:1])
    for name, data, more in (("plain", "my_midis", ()), ("infills", "choir", ("data.infill=0.5",))):
        done = run_command(folder, "train", data, *TINY, *more, f"run_dir={folder / name}")
        assert done.code == 0, done
    return folder


def newest(desk: Path, command: str) -> Path:
    return max((desk / "outputs" / command).iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


def notes(track: Track) -> list[tuple[int, int, int]]:
    return [(note.time, note.duration, note.pitch) for note in track.notes]


def run(desk: Path, command: str, *arguments: str):
    return run_command(desk, command, *arguments, f"checkpoint={desk / 'infills'}")


def test_infill_writes_pieces_a_picture_and_a_record_and_replays_them(desk):
    done = run(desk, "infill", "a song.mid", "bars=3-4", "tracks=alto", "num_samples=2", "audio=false", "seed=4")
    assert done.code == 0, done
    folder = newest(desk, "infill")
    assert sorted(path.name for path in folder.glob("*.mid")) == ["piece_01.mid", "piece_02.mid"]
    assert len(list(folder.glob("*.png"))) == 3
    assert (folder / "before_after.png").read_bytes().startswith(b"\x89PNG")
    assert "bars 3-4:" in done.out
    before, after = Score(desk / "a song.mid"), Score(folder / "piece_02.mid")
    assert [track.name for track in after.tracks] == [name for name, _, _ in VOICES]
    for index in (0, 2, 3):
        assert notes(after.tracks[index]) == notes(before.tracks[index])
    kept = [note for note in notes(before.tracks[1]) if not 3840 <= note[0] < 7680]
    assert [note for note in notes(after.tracks[1]) if not 3840 <= note[0] < 7680] == kept
    assert notes(after.tracks[1]) != notes(before.tracks[1])
    record = json.loads((folder / "piece_02.json").read_text())
    settings = record["settings"]
    assert 0 < record["originality"]["notes"] < record["notes"]  # of the region alone
    assert (settings["bars"], settings["tracks"], settings["seed"]) == ("3-4", "alto", 4)

    again = run_command(desk, "infill", str(folder / "piece_02.json"), *QUICK)
    assert again.code == 0, again
    (replayed,) = newest(desk, "infill").glob("*.mid")
    assert replayed.read_bytes() == (folder / "piece_02.mid").read_bytes()
    other = run_command(desk, "harmonise", str(folder / "piece_02.json"))
    assert other.code == 2
    assert "type midifactory infill replay=" in other.message


@pytest.mark.parametrize("tracks", ["2", "alto", "Alto", "viola", "[alto]", "41"])
def test_a_track_goes_by_its_name_its_instrument_or_its_number(desk, tracks):
    if tracks == "41":
        done = run(desk, "infill", "a song.mid", "bars=3", f"tracks={tracks}", *QUICK)
        assert done.code == 2
        assert "it has 1 Soprano (Violin), 2 Alto (Viola), 3 Tenor (Cello), 4 Bass (Contrabass)" in done.message
        return
    done = run(desk, "infill", "a song.mid", "bars=3", f"tracks={tracks}", *QUICK)
    assert done.code == 0, done
    before, after = Score(desk / "a song.mid"), Score(newest(desk, "infill") / "piece_01.mid")
    changed = [index for index in range(4) if notes(after.tracks[index]) != notes(before.tracks[index])]
    assert changed in ([1], [])
    assert "bars 3-3:" in done.out


def test_add_track_and_harmonise_leave_the_file_as_it_is(desk):
    before = Score(desk / "melody.mid")
    done = run(desk, "add_track", "melody.mid", "instrument=bass", *QUICK)
    assert done.code == 0, done
    after = Score(newest(desk, "add_track") / "piece_01.mid")
    assert [track.program for track in after.tracks] == [40, 43]
    assert notes(after.tracks[0]) == notes(before.tracks[0])
    done = run(desk, "harmonise", "melody.mid", *QUICK)
    assert done.code == 0, done
    after = Score(newest(desk, "harmonise") / "piece_01.mid")
    assert after.tracks[0].program == 40
    assert {41, 42, 43} >= {track.program for track in after.tracks[1:]} > set()
    assert notes(after.tracks[0]) == notes(before.tracks[0])
    done = run(desk, "harmonise", "melody.mid", "instruments=[cello]", "bars=2-", *QUICK)
    assert done.code == 0, done
    after = Score(newest(desk, "harmonise") / "piece_01.mid")
    assert [track.program for track in after.tracks] == [40, 42]
    assert min(note.time for note in after.tracks[1].notes) >= 1920


def test_a_melody_on_another_instrument_is_read_as_one_that_the_model_knows(desk):
    write_choir(desk / "flute.mid", 2, (("Tune", 73, 70),))
    done = run(desk, "harmonise", "flute.mid", *QUICK)
    assert done.code == 0, done
    assert "track 1 Tune (Flute) is read as Violin, which the model knows" in done.out
    first, *added = [track.program for track in Score(newest(desk, "harmonise") / "piece_01.mid").tracks]
    assert first == 73
    assert {*added} <= {41, 42, 43}, "an untrained voice may stay silent, and is then no track of the file"
    assert added


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("infill", (), "infill: say what is to be filled: bars=5-8"),
        ("infill", ("bars=2",), "infill needs a MIDI file: midifactory infill FILE.mid"),
        ("infill", ("none.mid", "bars=2"), "prompt=none.mid: no such file"),
        ("infill", ("a song.mid", "bars=7-9"), "bars=7-9: "),
        ("infill", ("a song.mid", "bars=7-9"), "a song.mid has bars 1 to 8"),
        ("infill", ("a song.mid", "bars=0"), "bars 1 to 8"),
        ("infill", ("a song.mid", "bars=4-2"), "bars 1 to 8"),
        ("infill", ("a song.mid", "bars=some"), "bars=some: give bars from 1 on"),
        ("infill", ("a song.mid", "bars=2", "tracks=oboe"), "has no track 'oboe'; it has 1 Soprano (Violin), 2 Alto"),
        ("infill", ("a song.mid", "bars=2", "tracks=5"), "has no track '5'"),
        ("infill", ("a song.mid", "bars=all"), "nothing is left around this region"),
        ("infill", ("a song.mid", "bars=2", "num_samples=0"), "num_samples=0"),
        ("infill", ("a song.mid", "bars=2", "temperature=-1"), "temperature=-1"),
        ("infill", ("a song.mid", "bars=2", "pitch_range=[9]"), "pitch_range=[9]"),
        ("add_track", ("a song.mid",), "add_track: say what is to be added, such as instrument=bass"),
        ("add_track", ("a song.mid", "instrument=oboe"), "this model never met Oboe; it knows Violin, Viola, Cello"),
        ("add_track", ("a song.mid", "instrument=kazooo"), "is no General MIDI name"),
        ("harmonise", ("melody.mid", "instruments=viola"), "instruments=viola: give names or programs"),
        ("harmonise", ("melody.mid", "instruments=[tuba]"), "this model never met Tuba"),
    ],
)
def test_bad_input_is_one_line_with_the_remedy(desk, command, arguments, said):
    done = run(desk, command, *arguments)
    assert done.code == 2, done
    assert said in done.message
    assert done.message.count("\n") == 0


@pytest.mark.parametrize("command", ["infill", "add_track", "harmonise"])
def test_a_checkpoint_not_trained_for_it_is_refused(desk, command):
    more = {"infill": ("bars=2",), "add_track": ("instrument=bass",), "harmonise": ()}[command]
    done = run_command(desk, command, "a song.mid", *more, f"checkpoint={desk / 'plain'}")
    assert done.code == 2
    assert "it was not trained for infilling; take checkpoint=box, or train one with data.infill=0.5" in done.message
    assert done.message.count("\n") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("data.infill=2",), "data.infill=2: give a share"),
        (("data.infill=0.5", "tokenizer=tsd"), "data.infill=0.5: TSD does not tell bars"),
        (("data.infill=0.5", "tokenizer=notes", "model=gru"), "note features have no bars"),
        (("data.infill=0.5", "init_from=plain"), "the checkpoint of init_from was not trained for infilling"),
        (("data.infill=0.5", "model=vae"), "a model with a latent"),
    ],
)
def test_a_training_that_cannot_infill_is_refused_before_any_work(desk, arguments, said):
    done = run_command(desk, "train", "my_midis", *TINY, *arguments)
    assert done.code == 2, done
    assert said in done.message


def test_the_model_still_continues_and_its_training_can_go_on(desk):
    done = run_command(desk, "generate", f"checkpoint={desk / 'infills'}", "bars=2", *QUICK)
    assert done.code == 0, done
    tuned = run_command(desk, "train", "choir", *TINY, "data.infill=0.5", f"init_from={desk / 'infills'}")
    assert tuned.code == 0, tuned


def test_a_short_tune_of_one_piano_has_chords_added_on_it(desk, tmp_path):
    write_midi(tmp_path / "tune.mid", 3, bars=2)
    done = run_command(desk, "train", "my_midis", *TINY, "data.infill=0.5", f"run_dir={tmp_path / 'run'}")
    assert done.code == 0, done
    tune = str(tmp_path / "tune.mid")
    done = run_command(desk, "harmonise", tune, f"checkpoint={tmp_path / 'run'}", *QUICK)
    assert done.code == 0, done
    after = Score(newest(desk, "harmonise") / "piece_01.mid")
    assert [track.program for track in after.tracks] == [0, 0]
    assert notes(after.tracks[0]) == notes(Score(tune).tracks[0])
