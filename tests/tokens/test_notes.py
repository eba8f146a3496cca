"""Notes as rows and back: hand-made scores, and pretty_midi's seconds."""

import io
import json
import pickle

import numpy as np
import pretty_midi
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from symusic import Note

from midifactory.errors import UserError
from midifactory.music.score import load_score, save_score, seconds_at
from midifactory.paths import conf_dir
from midifactory.tokens.notes import FEATURES, HEADS, NoteCodec, Scaler, build_note_store, quantile_levels

DRUMS = -1
TICKS = 480


def notes_of(score, drop_track=False):
    """(onset in quarters, duration, pitch, velocity, track) of every note, in order."""
    tpq = score.ticks_per_quarter
    return sorted(
        (note.time / tpq, note.duration / tpq, note.pitch, note.velocity, 0 if drop_track else index)
        for index, track in enumerate(score.tracks)
        for note in track.notes
    )


def test_the_columns_of_a_known_score(score_from):
    """At 60 bpm a quarter is a second; from beat 2 on, at 120, half of one."""
    lines = [(0, [(1, 2, 60, 80), (3, 1, 62, 90)]), (33, [(1, 1, 40, 70)])]
    score = score_from(lines, tempos=((0, 60), (2, 120)))
    expected = [
        [40, 1.0, 1.0, 0.0, 70, 0, 1],
        [60, 1.5, 1.0, 0.0, 80, 1, 0],
        [62, 0.5, 2.5, 1.5, 90, 1, 0],
    ]
    codec = NoteCodec(num_instruments=2)
    np.testing.assert_allclose(codec.features(score), expected, atol=1e-12)
    assert codec.columns == (*FEATURES, "track_0", "track_1")
    beats = NoteCodec(num_instruments=2, time_unit="beats")
    in_beats = [[1, 1, 0], [2, 1, 0], [1, 3, 2]]
    np.testing.assert_allclose(beats.features(score)[:, 1:4], in_beats, atol=1e-12)
    assert beats.columns[1:4] == ("duration_beats", "offset_beats", "time_delta_beats")


def test_seconds_are_pretty_midis(hand_score):
    """An independent reader of the same file."""
    midi = pretty_midi.PrettyMIDI(io.BytesIO(hand_score.dumps_midi()))
    expected = sorted((n.start, n.pitch, n.end - n.start, n.velocity) for i in midi.instruments for n in i.notes)
    rows = NoteCodec().features(hand_score)
    found = sorted(zip(rows[:, 2], rows[:, 0], rows[:, 1], rows[:, 4], strict=True))
    np.testing.assert_allclose(found, expected, atol=1e-5)  # a MIDI file holds tempos in whole microseconds a beat


def test_rows_are_ordered_and_deltas_add_up(hand_score):
    rows = NoteCodec(num_instruments=4).features(hand_score)
    assert [tuple(row) for row in rows[:, [2, 0]]] == sorted(tuple(row) for row in rows[:, [2, 0]])
    np.testing.assert_allclose(rows[0, 2] + np.cumsum(rows[:, 3]), rows[:, 2], atol=1e-9)
    assert (rows[:, 5:].sum(axis=1) == 1).all()


@pytest.mark.parametrize("ticks_per_quarter", [TICKS, 10 * TICKS])
def test_a_score_in_beats_comes_back_note_for_note(hand_score, ticks_per_quarter):
    codec = NoteCodec(num_instruments=4, time_unit="beats", ticks_per_quarter=ticks_per_quarter)
    assert notes_of(codec.to_score(codec.features(hand_score))) == notes_of(hand_score)


def test_a_score_in_seconds_comes_back_to_a_tick(hand_score):
    """Under any tempo the sounding time is kept; at 120 bpm also the beats."""
    codec = NoteCodec(num_instruments=4)
    back = codec.to_score(codec.features(hand_score))
    tick = 60 / 120 / codec.ticks_per_quarter
    for before, after in zip(hand_score.tracks, back.tracks, strict=True):
        for key in ("pitch", "velocity"):
            order = [np.lexsort((t.notes.numpy()["pitch"], t.notes.numpy()["time"])) for t in (before, after)]
            first, second = (t.notes.numpy()[key][o] for t, o in zip((before, after), order, strict=True))
            assert first.tolist() == second.tolist()
        onsets = [np.sort(seconds_at(s, t.notes.numpy()["time"])) for s, t in ((hand_score, before), (back, after))]
        np.testing.assert_allclose(*onsets, atol=tick)
    hand_score.tempos = hand_score.tempos[:1]
    hand_score.tempos[0].mspq = 500_000
    assert notes_of(codec.to_score(codec.features(hand_score))) == notes_of(hand_score)


def test_random_scores_come_back(score_from):
    """Unisons across tracks, the same pitch struck again, every pitch and velocity, and a first note that waits."""
    random = np.random.default_rng(4)
    for count in (1, 2, 50, 400):
        lines = [
            (
                program,
                [
                    (
                        int(random.integers(3, 4000)) / TICKS,
                        int(random.integers(1, 2000)) / TICKS,
                        int(random.integers(0, 128)),
                        int(random.integers(1, 128)),
                    )
                    for _ in range(count)
                ],
            )
            for program in (5, 0, 5)
        ]
        score = score_from(lines)
        codec = NoteCodec(num_instruments=3)
        features = codec.features(score)
        back = codec.to_score(features)
        assert notes_of(back) == notes_of(score)
        np.testing.assert_allclose(codec.features(back), features, atol=1e-9)


def test_instruments_beyond_the_last_are_folded_and_counted(hand_scores):
    score = hand_scores["four_voices"]
    assert NoteCodec(num_instruments=4).folded_notes(score) == 0
    codec = NoteCodec(num_instruments=2, time_unit="beats")
    assert codec.folded_notes(score) == 64
    assert codec.features(score)[:, 5:].sum(axis=0).tolist() == [32, 96]
    assert notes_of(codec.to_score(codec.features(score)), True) == notes_of(score, True)


def test_empty_tracks_take_no_column(score_from):
    score = score_from([(0, []), (7, [(0, 1, 60, 80)]), (9, [(1, 1, 50, 80)])])
    rows = NoteCodec(num_instruments=2).features(score)
    assert rows[:, 5:].tolist() == [[1, 0], [0, 1]]


def test_programs_choose_the_columns_and_come_back(hand_scores):
    codec = NoteCodec(num_instruments=2, programs=[33, DRUMS])
    score = hand_scores["drums"]
    back = codec.to_score(codec.features(score))
    assert [(track.program, track.is_drum) for track in back.tracks] == [(33, False), (0, True)]
    assert [len(track.notes) for track in back.tracks] == [8, 40]
    assert codec.folded_notes(score) == 0
    assert codec.folded_notes(hand_scores["piano_chords"]) == hand_scores["piano_chords"].note_num()


def test_what_a_model_makes_up_is_still_a_score():
    """Deltas that run backwards, pitches and velocities outside MIDI, no duration: as near as MIDI can say it."""
    rows = np.array(
        [[200.0, -1.0, -3.0, 0.4, 300.0, 0.2, 0.9], [-4, 0.5, 0.0, -2.0, 0.0, 0.6, 0.5], [60.4, 1, 9, 0.5, 64, 1, 0]]
    )
    codec = NoteCodec(num_instruments=2)
    score = codec.to_score(rows)
    second = 2 * codec.ticks_per_quarter
    found = [[(n.time, n.duration, n.pitch, n.velocity) for n in track.notes] for track in score.tracks]
    assert found == [[(0, second // 2, 0, 1), (second // 2, second, 60, 64)], [(0, 1, 127, 127)]]
    assert codec.to_score(rows[:0]).note_num() == 0


def test_scaling_is_inverted_exactly(hand_scores):
    codec = NoteCodec(num_instruments=4)
    pieces = [codec.features(score) for score in hand_scores.values()]
    scaler = Scaler.fit(pieces)
    rows = np.concatenate(pieces)
    scaled = scaler.transform(rows)
    np.testing.assert_allclose(scaled[:, 1:4].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled[:, 1:4].std(axis=0), 1, atol=1e-12)
    np.testing.assert_array_equal(scaled[:, [0, 4]], rows[:, [0, 4]] / 127)
    np.testing.assert_array_equal(scaled[:, 5:], rows[:, 5:])
    np.testing.assert_allclose(scaler.inverse(scaled), rows, atol=1e-9)
    unseen = rows * 17.3 - 5
    np.testing.assert_allclose(scaler.inverse(scaler.transform(unseen)), unseen, atol=1e-9)
    again = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    np.testing.assert_array_equal(again.transform(rows), scaled)
    for score, piece in zip(hand_scores.values(), pieces, strict=True):
        back = codec.to_score(scaler.inverse(scaler.transform(piece)))
        assert notes_of(back) == notes_of(codec.to_score(piece))
        assert back.note_num() == score.note_num()


@pytest.mark.parametrize("duration", [0.0, 0.1, 1e7 + 0.1])
def test_a_column_that_never_changes_is_only_shifted(duration):
    rows = np.tile([60.0, duration, 2.0, 0.0, 80.0, 1.0], (7, 1))
    scaler = Scaler.fit([rows])
    np.testing.assert_allclose(scaler.transform(rows)[:, 1:4], 0, atol=1e-6)
    assert scaler.scale[1:4].tolist() == [1, 1, 1]
    np.testing.assert_allclose(scaler.inverse(scaler.transform(rows)), rows, atol=1e-8)


def test_scaling_needs_a_note():
    with pytest.raises(UserError, match="2 training pieces hold no note"):
        Scaler.fit([np.zeros((0, 6)), np.zeros((0, 6))])


def test_levels_are_values_of_the_music_evenly_spaced_in_their_order():
    """Against sorting: level k of K stands at share (k + 1/2) / K of the sorted values."""
    rows = np.zeros((1000, 6))
    rows[:, 1:5] = np.random.default_rng(3).lognormal(size=(1000, 4))
    levels = quantile_levels([rows[:300], rows[300:]], 10)
    for level, column in zip(levels, rows[:, 1:5].T, strict=True):
        np.testing.assert_array_equal(level, np.sort(column)[[49 + 100 * k for k in range(10)]])


def test_levels_of_music_on_a_grid_are_its_grid():
    """Chords (a time delta of 0), one tempo: a value counts once however frequent it is, and the rest is inf."""
    rows = np.tile([60.0, 0.5, 0.0, 0.0, 80.0, 1.0], (60, 1))
    rows[:, 2] = np.arange(60)
    rows[::3, 3], rows[::10, 1] = 0.25, 1.5
    levels = quantile_levels([rows], 8)
    assert levels[0].tolist() == [0.5, 1.5] + [np.inf] * 6
    assert levels[2].tolist() == [0.0, 0.25] + [np.inf] * 6
    assert levels[3].tolist() == [80.0] + [np.inf] * 7
    assert np.isfinite(levels[1]).all()


def test_a_codec_travels_as_plain_text():
    codec = NoteCodec(num_instruments=2, programs=[33, DRUMS], bins=9, loss_weights={"pitch": 2})
    assert NoteCodec(**json.loads(codec.to_json())) == codec


def test_the_store_holds_every_row_of_the_files(midi_files, tmp_path):
    broken = tmp_path / "broken.mid"
    broken.write_bytes(b"MThd")
    codec = NoteCodec(num_instruments=2)
    store = build_note_store([*midi_files, ("broken", broken)], codec, tmp_path / "s", "hand", progress=False)
    assert list(store.refused) == ["broken"]
    for piece_id, path in midi_files:
        np.testing.assert_array_equal(store.features(piece_id), codec.features(load_score(path)))
    assert {piece.id: piece.folded for piece in store.pieces.values() if piece.folded} == {"four_voices": 64}
    sent = pickle.dumps(store)
    assert len(sent) < 500  # a path, not the rows
    np.testing.assert_array_equal(pickle.loads(sent).features("drums"), store.features("drums"))


def test_a_build_is_made_once_and_named_by_files_and_codec(midi_files, tmp_path, score_from):
    def build(pieces, **settings):
        return build_note_store(pieces, NoteCodec(**settings), tmp_path / "s", "hand", progress=False).folder

    first = build(midi_files)
    stamp = (first / "notes.bin").stat().st_mtime_ns
    assert build(reversed(midi_files), sequence_length_i=7, stride=3) == first  # windows are cut from the same rows
    assert (first / "notes.bin").stat().st_mtime_ns == stamp
    assert len({first, build(midi_files, num_instruments=2), build(midi_files, time_unit="beats")}) == 3
    changed = tmp_path / "changed.mid"
    save_score(score_from([(0, [(0, 1, 60, 80)])]), changed)
    assert build([*midi_files[1:], (midi_files[0][0], changed)]) != first
    assert {path.name for path in first.iterdir()} == {"notes.bin", "pieces.json"}
    assert not [path for path in (tmp_path / "s").iterdir() if path.name.startswith(".")]


def test_an_interrupted_build_leaves_nothing(midi_files, tmp_path, monkeypatch):
    def stop(self, score):
        raise KeyboardInterrupt

    monkeypatch.setattr(NoteCodec, "features", stop)
    with pytest.raises(KeyboardInterrupt):
        build_note_store(midi_files, NoteCodec(), tmp_path / "s", "hand", progress=False)
    assert not list((tmp_path / "s").iterdir())


def test_no_readable_piece_is_told(tmp_path):
    path = tmp_path / "empty.mid"
    path.write_bytes(b"")
    with pytest.raises(UserError, match="none of 1 pieces could be read"):
        build_note_store([("empty", path)], NoteCodec(), tmp_path / "s", "hand", progress=False)
    assert not list((tmp_path / "s").iterdir())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_instruments": 0}, "num_instruments=0"),
        ({"sequence_length_i": 0}, "sequence_length_i=0"),
        ({"sequence_length_o": -3}, "sequence_length_o=-3"),
        ({"stride": 0}, "stride=0"),
        ({"bins": 0}, "bins=0"),
        ({"num_instruments": True}, "num_instruments=True"),
        ({"loss_weights": {"tempo": 1}}, f"loss_weights has tempo: choose from {', '.join(HEADS)}"),
        ({"loss_weights": {"pitch": -1}}, "loss_weights.pitch=-1: give a number of at least 0"),
        ({"loss_weights": {"pitch": "much"}}, "loss_weights.pitch=much"),
        ({"time_unit": "bars"}, "time_unit=bars: choose seconds or beats"),
        ({"ticks_per_quarter": 40000}, "at most 32767"),
        ({"programs": [1, 2]}, "names 2 instruments, tokenizer.num_instruments=1"),
        ({"programs": [128]}, "programs has 128"),
    ],
)
def test_settings_outside_the_limits_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        NoteCodec(**settings)


def test_the_config_names_every_setting():
    config = OmegaConf.load(conf_dir() / "tokenizer" / "notes.yaml")
    assert instantiate(config, _convert_="all") == NoteCodec()
    assert set(config) - {"_target_"} == set(NoteCodec.__dataclass_fields__)


def test_a_note_without_duration_lasts_a_tick(score_from):
    score = score_from([(0, [(0, 1, 60, 80)])])
    score.tracks[0].notes.append(Note(TICKS, 0, 62, 80))
    codec = NoteCodec(time_unit="beats", ticks_per_quarter=TICKS)
    assert notes_of(codec.to_score(codec.features(score)))[1] == (1.0, 1 / TICKS, 62, 80, 0)
