"""What the Space does, without its page: loads a model, composes, and leaves files that a browser can show and play."""

import os
from dataclasses import dataclass
from pathlib import Path

from midifactory.errors import UserError
from midifactory.export.composing import compose_music, style_names
from midifactory.export.hub import load_folder
from midifactory.music.score import bar_count, save_score
from midifactory.paths import box_dir
from midifactory.render.audio import save_wav
from midifactory.render.pianoroll import save_pianoroll
from midifactory.training.checkpoint import Trained
from midifactory.training.checkpoint_folder import is_checkpoint

CHECKPOINT = "MIDIFACTORY_CHECKPOINT"  # names a folder, or a repository on the Hub
MOST_BARS = 32
STYLES = style_names()


@dataclass(frozen=True)
class Piece:
    """The files of one piece, and a line about it; no picture and no sound of a piece without notes."""

    midi: Path
    picture: Path | None
    sound: Path | None
    about: str


def load_model() -> Trained:
    """The model that the environment names, or the one in the box. Raises UserError where there is none."""
    named = os.environ.get(CHECKPOINT, "").strip()
    if not named:
        if not is_checkpoint(box_dir()):
            raise UserError(f"no model: set {CHECKPOINT} to an exported folder, or to OWNER/NAME on the Hub")
        named = str(box_dir())
    if not Path(named).expanduser().exists():
        from midifactory.export.pretrained import PretrainedModel

        return PretrainedModel.from_pretrained(named).trained
    trained = load_folder(Path(named).expanduser())
    if not isinstance(trained, Trained):
        raise UserError(f"{CHECKPOINT}={named}: it is of note features; this page composes with a model of tokens")
    return trained


def compose_for_web(
    model: Trained,
    folder: Path,
    style: str = "free",
    chords: str = "",
    key: str = "",
    bars: float = 8,
    tempo_bpm: float | None = None,
    temperature: float = 0.95,
    seed: float = 0,
) -> Piece:
    """One piece into `folder`. What a form leaves empty or at 0 is not asked for.

    Raises UserError for what cannot be met, and for more bars than a visitor may have.
    """
    if not 1 <= bars <= MOST_BARS:
        raise UserError(f"bars={bars:g}: give 1 to {MOST_BARS}")
    if seed < 0:
        raise UserError(f"seed={seed:g}: give a whole number of at least 0")
    (score,) = compose_music(
        model,
        bars=int(bars),
        seed=int(seed),
        style=style,
        chords=chords.strip() or None,
        key=key.strip() or None,
        tempo_bpm=tempo_bpm or None,
        temperature=temperature,
    )
    midi = folder / "piece.mid"
    save_score(score, midi)
    notes = score.note_num()
    if not notes:
        return Piece(midi, None, None, "The model was silent; take another seed.")
    save_pianoroll(score, midi.with_suffix(".png"))
    rendered = save_wav(midi, midi.with_suffix(".wav"))
    about = f"{bar_count(score)} bars, {notes} notes. {rendered}"
    return Piece(midi, midi.with_suffix(".png"), midi.with_suffix(".wav"), about)
