"""The page of the Space (Gradio): a form, a piano roll, a player and the MIDI file. It asks nothing of other hosts."""

import os
import tempfile
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from composing import MOST_BARS, STYLES, compose_for_web, load_model

from midifactory.errors import UserError
from midifactory.training.checkpoint import Trained

# The default theme would fetch its fonts from Google.
_THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])


def build(model: Trained) -> gr.Blocks:
    """The page for a model; its one function is `compose` at /gradio_api."""

    def compose(
        style: str, chords: str, key: str, bars: float, tempo_bpm: float, temperature: float, seed: float
    ) -> tuple[str | None, str | None, str, str]:
        folder = Path(tempfile.mkdtemp(prefix="piece-"))
        try:
            piece = compose_for_web(model, folder, style, chords, key, bars, tempo_bpm, temperature, seed)
        except UserError as error:
            raise gr.Error(str(error)) from error
        picture, sound = (str(path) if path else None for path in (piece.picture, piece.sound))
        return picture, sound, str(piece.midi), piece.about

    with gr.Blocks(title="MIDI AI Factory") as page:
        gr.Markdown(f"# MIDI AI Factory\nNew music by a model that learned from `{model.corpus}`.")
        with gr.Row():
            with gr.Column():
                form = [
                    gr.Dropdown(STYLES, value="free", label="Style"),
                    gr.Textbox(label="Chords", placeholder="C G Am F, or I V vi IV"),
                    gr.Textbox(label="Key", placeholder="D minor"),
                    gr.Slider(1, MOST_BARS, value=8, step=1, label="Bars"),
                    gr.Slider(0, 240, value=0, step=1, label="Tempo (beats per minute; 0: the model's own)"),
                    gr.Slider(0.5, 1.5, value=0.95, step=0.05, label="Temperature"),
                    gr.Number(value=0, precision=0, label="Seed"),
                ]
                button = gr.Button("Compose", variant="primary")
            with gr.Column():
                shown = [
                    gr.Image(label="Piano roll", type="filepath"),
                    gr.Audio(label="Sound", type="filepath"),
                    gr.File(label="MIDI"),
                    gr.Textbox(label="About", interactive=False),
                ]
        button.click(compose, form, shown, api_name="compose", concurrency_limit=1)
    return page


if __name__ == "__main__":
    build(load_model()).queue(max_size=20).launch(theme=_THEME)
