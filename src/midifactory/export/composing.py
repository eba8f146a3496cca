"""New pieces from a trained model in one call, for notebooks and small apps: no command line, no configs, no files."""

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from symusic import Score

from midifactory.errors import UserError
from midifactory.generation.guide import Length
from midifactory.generation.pieces import compose, opening_of_style
from midifactory.generation.sampling import Sampling
from midifactory.generation.styles import Style
from midifactory.generation.wishes import bind_controls, bind_range, parse_wishes
from midifactory.paths import conf_dir
from midifactory.targets import load_class
from midifactory.training.checkpoint import Trained


def compose_music(
    trained: Trained,
    bars: int = 8,
    num_samples: int = 1,
    seed: int = 0,
    style: str = "free",
    chords: str | None = None,
    key: str | None = None,
    tempo_bpm: float | None = None,
    metre: str | None = None,
    instruments: Sequence[str | int] | None = None,
    polyphony: int | None = None,
    density: float | None = None,
    temperature: float = 0.95,
    top_p: float = 0.97,
    on_step: Callable[[int], None] | None = None,
) -> list[Score]:
    """`num_samples` pieces of `bars` bars; the words mean what they mean for `midifactory generate`, None nothing.

    chords without a style ask for style=chords. on_step: told after each step how many pieces have taken a token. The
    same seed gives the same music. Raises UserError for what cannot be met.
    """
    wishes = parse_wishes(trained.profile, key or None, tempo_bpm, metre or None, chords or None)
    wishes = bind_range(wishes, None, trained.tokenizer)
    asked: dict[str, Any] = {"instruments": instruments or None, "polyphony": polyphony, "density": density}
    asked |= {"rhythm_grid": None, "harmony": None, "harmony_strength": 3.0, "repetition_penalty": 1.0}
    wishes = bind_controls(wishes, asked, trained.tokenizer)
    name = "chords" if chords and style == "free" else style
    opening = opening_of_style(style_named(name), wishes, trained.tokenizer)
    sampling = Sampling(temperature, top_p=top_p)
    pieces = compose(trained, opening, wishes, Length(bars), sampling, num_samples, seed, on_step=on_step)
    return [piece.score for piece in pieces]


def style_names() -> list[str]:
    """The styles of conf/style."""
    return sorted(path.stem for path in (conf_dir() / "style").glob("*.yaml"))


def style_named(name: str) -> Style:
    """The style of conf/style with its defaults. Raises UserError for an unknown one."""
    known = style_names()
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
        raise UserError(f"style={name}: choose one of {', '.join(known)} (nearest: {near[0]})")
    config = yaml.safe_load((conf_dir() / "style" / f"{name}.yaml").read_text(encoding="utf-8"))
    kind = load_class(config.pop("_target_"), Style, "style")
    return kind(**config)
