"""WAV files: do they sound, when, at what pitch, and always the same."""

import shutil
import sys
import wave

import numpy as np
import pytest
from symusic import Note, Score, Tempo, Track

from midifactory.errors import UserError
from midifactory.music.score import save_score
from midifactory.render import audio
from midifactory.render.audio import PEAK, save_wav, soundfont_path

needs_fluidsynth = pytest.mark.skipif(shutil.which("fluidsynth") is None, reason="FluidSynth is not installed")


@pytest.fixture
def midi(tmp_path):
    """Two seconds of A4 after one second of silence, at 120 beats a minute."""
    score = Score(480)
    score.tempos.append(Tempo(0, 120))
    track = Track(program=73)
    track.notes.append(Note(960, 1920, 69, 100))
    score.tracks.append(track)
    save_score(score, tmp_path / "it's (1).mid")
    return tmp_path / "it's (1).mid"


def _read(path):
    with wave.open(str(path)) as file:
        assert file.getsampwidth() == 2
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples.reshape(-1, file.getnchannels()).mean(axis=1), file.getframerate(), np.abs(samples).max()


def _check_sound(path, rate):
    samples, rate_hz, peak = _read(path)
    assert rate_hz == rate
    assert peak == pytest.approx(PEAK * 32767, abs=2)
    assert 3.0 <= len(samples) / rate < 9.0
    power = [np.square(samples[int(a * rate) : int(b * rate)]).mean() for a, b in ((0, 0.9), (1.2, 2.8))]
    assert power[1] > 1e5 > 1e3 * power[0]
    sounding = samples[int(1.2 * rate) : int(2.8 * rate)]
    spectrum = np.abs(np.fft.rfft(sounding * np.hanning(len(sounding))))
    assert np.fft.rfftfreq(len(sounding), 1 / rate)[spectrum.argmax()] % 440 == pytest.approx(0, abs=6) or (
        np.fft.rfftfreq(len(sounding), 1 / rate)[spectrum.argmax()] % 440 == pytest.approx(440, abs=6)
    )


@needs_fluidsynth
def test_fluidsynth(midi, tmp_path):
    sentence = save_wav(midi, tmp_path / "a.wav", 22050)
    assert sentence == "Rendered by FluidSynth with TimGM6mb.sf2."
    _check_sound(tmp_path / "a.wav", 22050)
    save_wav(midi, tmp_path / "b.wav", 22050)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav", midi.name]


@needs_fluidsynth
def test_a_wall_of_sound_does_not_clip(tmp_path):
    score = Score(480)
    for program in range(12):
        track = Track(program=program * 4)
        track.notes.extend([Note(0, 960, 40 + 2 * n, 127) for n in range(20)])
        score.tracks.append(track)
    save_score(score, tmp_path / "x.mid")
    save_wav(tmp_path / "x.mid", tmp_path / "x.wav")
    samples, _, peak = _read(tmp_path / "x.wav")
    assert peak == pytest.approx(PEAK * 32767, abs=2)
    assert (np.abs(samples) > 0.99 * peak).mean() < 0.001


def test_without_fluidsynth_the_oscillators_play(midi, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    sentence = save_wav(midi, tmp_path / "a.wav", 22050)
    assert "oscillators" in sentence
    assert "FluidSynth is not installed" in sentence
    _check_sound(tmp_path / "a.wav", 22050)
    save_wav(midi, tmp_path / "b.wav", 22050)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo broken >&2; exit 3", "exit code 3 (broken)"),
        ("exec sleep 20", "took longer than"),
        ("exit 0", "wrote no sound"),
    ],
)
def test_a_failing_fluidsynth_is_named_and_replaced(midi, tmp_path, monkeypatch, script, reason):
    fake = tmp_path / "bin" / "fluidsynth"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")
    monkeypatch.setattr(audio, "_TIMEOUT_BASE_SECONDS", 0.3)
    monkeypatch.setattr(audio, "_TIMEOUT_PER_SECOND", 0.1)
    sentence = save_wav(midi, tmp_path / "a.wav", 22050)
    assert reason in sentence
    _check_sound(tmp_path / "a.wav", 22050)


def test_drums_alone_are_silence_without_fluidsynth(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    score = Score(480)
    track = Track(is_drum=True)
    track.notes.append(Note(0, 480, 36, 100))
    score.tracks.append(track)
    save_score(score, tmp_path / "x.mid")
    assert "drums silent" in save_wav(tmp_path / "x.mid", tmp_path / "x.wav", 22050)
    assert _read(tmp_path / "x.wav")[2] == 0


def test_what_is_no_midi_is_the_users_error(tmp_path):
    (tmp_path / "x.mid").write_bytes(b"MThd nonsense")
    for name in ("x.mid", "absent.mid"):
        with pytest.raises(UserError, match=name):
            save_wav(tmp_path / name, tmp_path / "x.wav")
    assert not (tmp_path / "x.wav").exists()


def test_the_soundfont_lies_where_pretty_midi_put_it():
    assert soundfont_path().is_file()
