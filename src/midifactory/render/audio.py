"""MIDI to WAV, by FluidSynth where it is installed and by plain oscillators where it is not."""

import os
import shutil
import subprocess
import tempfile
import warnings
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from midifactory import files
from midifactory.errors import UserError
from midifactory.music.score import UnreadableMidi, duration_seconds, load_score

PEAK = 0.9  # of full scale, so that no player's resampling clips
_CHUNK_FRAMES = 1 << 20
# FluidSynth renders many times faster than real time; this allows a busy machine half of real time.
_TIMEOUT_BASE_SECONDS = 30.0
_TIMEOUT_PER_SECOND = 2.0


class _RenderFailed(Exception):
    """FluidSynth gave no usable sound; the message is the reason."""


def soundfont_path() -> Path:
    """The SoundFont that pretty_midi ships (GPL-2: used where it lies, never copied); it may not exist."""
    import pretty_midi

    return Path(pretty_midi.__file__).resolve().parent / "TimGM6mb.sf2"


def save_wav(midi_path: str | os.PathLike[str], wav_path: str | os.PathLike[str], sample_rate_hz: int = 44100) -> str:
    """Render a MIDI file to 16-bit WAV, whole or not at all; return a sentence saying what rendered it.

    Stereo by FluidSynth; mono, and without drums, by pretty_midi's oscillators where FluidSynth is missing or
    fails. The loudest sample is at PEAK of full scale, so nothing clips and pieces are comparably loud. The same
    file gives the same bytes. Raises UserError where the MIDI file cannot be read. Costs about a tenth of the
    music's duration, and on disk three times the WAV's size while it works.
    """
    midi, target = Path(midi_path), Path(wav_path)
    try:
        length_seconds = duration_seconds(load_score(midi))
    except UnreadableMidi as error:
        raise UserError(f"{midi}: {error}; give a MIDI file") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _save_by_fluidsynth(midi, target, sample_rate_hz, length_seconds)
    except _RenderFailed as error:
        _save_by_oscillators(midi, target, sample_rate_hz)
        return f"Rendered by pretty_midi's oscillators, drums silent, because {error}."
    return f"Rendered by FluidSynth with {soundfont_path().name}."


def _save_by_fluidsynth(midi: Path, target: Path, sample_rate_hz: int, length_seconds: float) -> None:
    binary, font = shutil.which("fluidsynth"), soundfont_path()
    if binary is None:
        raise _RenderFailed("FluidSynth is not installed (apt-get install fluidsynth, or brew install fluid-synth)")
    if not font.is_file():
        raise _RenderFailed(f"the SoundFont {font} is missing")
    timeout_seconds = _TIMEOUT_BASE_SECONDS + _TIMEOUT_PER_SECOND * length_seconds
    # Beside the target: a long piece is gigabytes, which a small /tmp may not hold.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".rendering-") as folder:
        raw = Path(folder, "sound.raw")
        settings = Path(folder, "empty.conf")  # else the user's own settings would change the sound
        settings.touch()
        # Floats, because 16-bit output would clip before its peak is known.
        command = [binary, "-n", "-i", "-q", "-f", str(settings), "-r", str(sample_rate_hz), "-T", "raw", "-O", "float"]
        command += ["-E", "cpu", "-F", str(raw), str(font), str(midi.resolve())]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise _RenderFailed(f"FluidSynth took longer than {timeout_seconds:.0f} seconds") from error
        except OSError as error:
            raise _RenderFailed(f"FluidSynth could not be started ({error.strerror})") from error
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            reason = lines[-1][:200] if lines else "no message"
            raise _RenderFailed(f"FluidSynth failed with exit code {done.returncode} ({reason})")
        if not raw.is_file() or raw.stat().st_size < 8:
            raise _RenderFailed("FluidSynth wrote no sound")
        samples = np.memmap(raw, dtype=np.float32, mode="r")
        try:
            _write_wav(samples[: len(samples) // 2 * 2].reshape(-1, 2), target, sample_rate_hz)
        finally:
            del samples  # Windows cannot remove a mapped file


def _save_by_oscillators(midi: Path, target: Path, sample_rate_hz: int) -> None:
    import pretty_midi

    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")  # pretty_midi warns of oddities that load_score has let through
        try:
            samples = pretty_midi.PrettyMIDI(str(midi)).synthesize(fs=sample_rate_hz)
        except Exception as error:  # it parses by mido, which refuses some files that symusic reads
            raise UserError(f"{midi}: pretty_midi cannot render it ({error}); install FluidSynth") from error
    # Drums alone are silence, which pretty_midi divides by its own peak.
    _write_wav(np.nan_to_num(samples).reshape(-1, 1), target, sample_rate_hz)


def _write_wav(samples: np.ndarray, target: Path, sample_rate_hz: int) -> None:
    """Write float `samples` (frames, channels), scaled so that their peak is PEAK; silence stays silence."""
    peak = max((float(np.abs(chunk).max()) for chunk in _chunks(samples)), default=0.0)
    if not np.isfinite(peak):
        raise _RenderFailed("FluidSynth's output is not sound")
    scale = PEAK * 32767 / peak if peak > 0 else 0.0
    with files.replacing(target) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        for chunk in _chunks(samples):
            file.writeframes(np.rint(chunk * scale).astype("<i2").tobytes())


def _chunks(samples: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), _CHUNK_FRAMES):
        yield samples[start : start + _CHUNK_FRAMES]
