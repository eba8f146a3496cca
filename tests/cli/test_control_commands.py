"""continue, vary keep=, orchestrate and styles, as typed: what comes out as mido reads it, and what is refused."""

import json
from pathlib import Path

import mido
import pytest
from symusic import Note, Score, Tempo, TimeSignature, Track

from cli.conftest import run_command
from midifactory.music.score import bar_starts, note_arrays

QUICK = ("audio=false", "piano_roll=false")
BAR = 96 * 4


@pytest.fixture(scope="module")
def desk(studio) -> Path:
    """The studio with a duet of six bars at 96 ticks: two hands of a piano, and a violin."""
    score = Score(96)
    score.tempos.append(Tempo(0, 90))
    score.time_signatures.append(TimeSignature(0, 4, 4))
    for name, program, low in (("right", 0, 72), ("left", 0, 48), ("fiddle", 40, 79)):
        track = Track(name, program)
        for place in range(24):
            track.notes.append(Note(place * 96 + 5, 80, low + (place * 5) % 7, 70 + place))
        score.tracks.append(track)
    score.dump_midi(studio / "my duet.mid")
    return studio


def newest(desk: Path, command: str) -> Path:
    return max((desk / "outputs" / command).iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


def events(path: Path) -> list[list[tuple]]:
    found = []
    for track in mido.MidiFile(path).tracks:
        now, rows = 0, []
        for message in track:
            now += message.time
            if message.type != "end_of_track":
                rows.append((now, str(message.copy(time=0))))
        found.append(rows)
    return found


@pytest.mark.parametrize(("bar", "line", "arguments"), [(None, 6 * BAR, ()), (3, 2 * BAR, ("from_bar=3",))])
def test_a_file_goes_on_and_what_stands_before_is_the_same(desk, bar, line, arguments):
    done = run_command(desk, "continue", "my duet.mid", *arguments, "bars=2", "num_samples=2", *QUICK)
    assert done.code == 0, done
    folder = newest(desk, "continue")
    for number in (1, 2):
        old, new = events(desk / "my duet.mid"), events(folder / f"piece_0{number}.mid")
        assert len(new) == len(old)  # the instruments of the file
        for before, after in zip(old, new, strict=True):
            assert [row for row in after if row[0] < line] == [row for row in before if row[0] < line]
        score = Score(folder / f"piece_0{number}.mid")
        assert score.ticks_per_quarter == 96
        late = note_arrays(score)["onset"][note_arrays(score)["onset"] >= line]
        assert len(late)
        assert line <= late.min() <= late.max() < line + 2 * BAR
        assert len(bar_starts(score)) == line // BAR + 2
    record = json.loads((folder / "piece_02.json").read_text())
    assert record["settings"]["from_bar"] == bar
    again = run_command(desk, "continue", f"replay={folder / 'piece_02.json'}", *QUICK)
    assert again.code == 0, again
    assert (newest(desk, "continue") / "piece_02.mid").read_bytes() == (folder / "piece_02.mid").read_bytes()
    refused = run_command(desk, "generate", str(folder / "piece_02.json"), *QUICK)
    assert refused.code == 2
    assert "midifactory continue replay=" in refused.message


@pytest.mark.parametrize("keep", ["rhythm", "contour", "harmony"])
def test_vary_writes_variations_and_a_record(desk, keep):
    made = []
    for _ in range(2):
        arguments = ("my duet.mid", f"keep={keep}", "from_bar=3", "bars=2", "num_samples=2", "seed=3", *QUICK)
        done = run_command(desk, "vary", *arguments)
        assert done.code == 0, done
        folder = newest(desk, "vary")
        made.append([path.read_bytes() for path in sorted(folder.glob("*.mid"))])
    assert made[0] == made[1]
    assert made[0][0] != made[0][1]
    record = json.loads((folder / "variation.json").read_text())
    assert [row["broken"] for row in record["variations"]] == [0, 0]
    assert (record["settings"]["from_tick"], record["settings"]["to_tick"]) == (2 * BAR, 4 * BAR)
    assert all(row["originality"]["notes"] > 0 for row in record["variations"])
    for old, new in zip(events(desk / "my duet.mid"), events(folder / "variation_01.mid"), strict=True):
        assert [row for row in new if row[0] < 2 * BAR] == [row for row in old if row[0] < 2 * BAR]


def test_vary_changes_the_tracks_that_are_asked_and_no_others(desk):
    done = run_command(desk, "vary", "my duet.mid", "keep=contour", "tracks=fiddle", *QUICK)
    assert done.code == 0, done
    old, new = events(desk / "my duet.mid"), events(newest(desk, "vary") / "variation_01.mid")
    same = [before == after for before, after in zip(old, new, strict=True)]
    assert same.count(False) == 1
    assert not same[-1], "the last track is the fiddle"


def test_orchestrate_changes_the_programs(desk):
    done = run_command(desk, "orchestrate", "my duet.mid", "instruments=[flute,cello,clarinet]", *QUICK)
    assert done.code == 0, done
    folder = newest(desk, "orchestrate")
    tracks = mido.MidiFile(folder / "orchestrated.mid").tracks
    assert [m.program for track in tracks for m in track if m.type == "program_change"] == [73, 42, 71]
    assert json.loads((folder / "orchestrated.json").read_text())["programs"] == [73, 42, 71]
    done = run_command(desk, "orchestrate", "my duet.mid", "instruments=[violin,cello]", "revoice=true", *QUICK)
    assert done.code == 0, done
    assert Score(newest(desk, "orchestrate") / "orchestrated.mid").note_num() == 72


@pytest.mark.parametrize(
    ("command", "arguments", "parts"),
    [
        ("continue", (), ["continue needs a MIDI file"]),
        ("continue", ("none.mid",), ["none.mid", "no such file"]),
        ("continue", ("my duet.mid", "from_bar=9"), ["from_bar=9", "6 bars", "1 to 7"]),
        ("continue", ("my duet.mid", "from_bar=1"), ["from_bar=1", "nothing stands before"]),
        ("continue", ("my duet.mid", "from_bar=two"), ["from_bar=two"]),
        ("continue", ("my duet.mid", "metre=3/4"), ["metre=3/4", "the file's own"]),
        ("continue", ("my duet.mid", "style=melody"), ["leave style out"]),
        ("continue", ("my duet.mid", "instruments=[fluut]"), ["'fluut'", "nearest: flute"]),
        ("vary", ("my duet.mid", "keep=rythm"), ["keep=rythm", "nearest: rhythm"]),
        ("vary", ("my duet.mid", "keep=rhythm", "from_bar=7"), ["from_bar=7", "6 bars"]),
        ("vary", ("my duet.mid", "keep=rhythm", "from_bar=5", "bars=3"), ["bars=3", "6 bars"]),
        ("vary", ("my duet.mid", "from_bar=5"), ["keep=rhythm|harmony|contour"]),
        ("vary", ("my duet.mid", "tracks=fiddle"), ["tracks=fiddle", "keep=rhythm|harmony|contour"]),
        ("vary", ("my duet.mid", "keep=harmony", "tracks=fiddle"), ["tracks=fiddle", "keep=rhythm or contour"]),
        ("vary", ("my duet.mid", "keep=rhythm", "tracks=right"), ["track 2 plays", "too", "name it as well"]),
        ("vary", ("my duet.mid", "keep=rhythm", "tracks=oboe"), ["no track 'oboe'", "1 right", "3 fiddle"]),
        ("vary", ("my duet.mid", "amount=0.3"), ["keep=rhythm"]),
        ("vary", ("keep=rhythm",), ["vary needs a MIDI file"]),
        ("orchestrate", ("my duet.mid",), ["instruments=None", "1 right", "3 fiddle"]),
        ("orchestrate", ("my duet.mid", "instruments=[flute]", "tracks=[viola]"), ["'viola'", "3 fiddle"]),
        ("orchestrate", ("my duet.mid", "instruments=[flute,oboe]"), ["2 for 3 tracks", "revoice=true"]),
        ("orchestrate", ("my duet.mid", "instruments=[obeo]"), ["'obeo'", "nearest: oboe"]),
        ("generate", ("style=melodie",), ["style=melodie", "nearest: melody", "bass"]),
        ("styles", ("--config-dir", "nowhere"), ["nowhere", "style/"]),
        ("styles", ("melody",), ["--config-dir FOLDER"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(desk, command, arguments, parts):
    refused = run_command(desk, command, *arguments)
    assert refused.code == 2, refused
    assert all(part in refused.message for part in parts), refused.message
    assert "Traceback" not in refused.err


def test_a_style_of_ones_own_is_a_file(desk):
    (desk / "mine" / "style").mkdir(parents=True)
    text = "# A tune that starts on the fifth.\ndefaults: [melody]\ndegrees: [5, 3, 1]\n"
    (desk / "mine" / "style" / "fifth.yaml").write_text(text)
    listed = run_command(desk, "styles", "--config-dir", "mine")
    assert listed.code == 0
    assert "fifth      A tune that starts on the fifth." in listed.out
    lines = listed.out.splitlines()
    assert [line.split()[0] for line in lines[: lines.index("")]] == [
        *("arpeggio", "bass", "chords", "drums", "fifth", "free", "harmonise", "melody"),
    ]
    assert "fifth" not in run_command(desk, "styles").out
    done = run_command(desk, "generate", "--config-dir", "mine", "style=fifth", "key=G", "bars=2", *QUICK)
    assert done.code == 0, done
    notes = note_arrays(Score(newest(desk, "generate") / "piece_01.mid"))
    assert [int(pitch) % 12 for pitch in notes["pitch"][:3]] == [2, 11, 7]
    refused = run_command(desk, "generate", "--config-dir", "mine", "style=fith")
    assert "nearest: fifth" in refused.message
