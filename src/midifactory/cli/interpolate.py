"""`midifactory interpolate`: from one MIDI file to another in steps, through the latent of a VAE."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from midifactory.cli import hydra_app
from midifactory.cli.building import plain
from midifactory.cli.latent_pieces import (
    check_plain_number,
    load_latent_model,
    read_piece,
    read_sampling,
    write_record,
    write_score,
)
from midifactory.cli.originality import find_originality, report_copies
from midifactory.evaluation.reconstruction import distances
from midifactory.generation.latent import mixed
from midifactory.generation.pieces import compose_latents
from midifactory.render.pianoroll import save_pianorolls


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("interpolate", run, sys.argv[1:] if argv is None else argv)


def run(config: DictConfig) -> list[Path]:
    """Write step_01.mid (the first file, reconstructed) to the last one, a picture of all, and interpolation.json."""
    check_plain_number(config, "steps", least=2, whole=True)
    sampling = read_sampling(config)
    trained = load_latent_model(config, "interpolate")
    start, end = (read_piece(trained, config[key], key, "interpolate") for key in ("start", "end"))
    shares = [step / (config.steps - 1) for step in range(config.steps)]
    latents, bars = zip(*(mixed(start, end, share, config.spherical) for share in shares), strict=True)
    scores = [piece.score for piece in compose_latents(trained, latents, bars, sampling, config.seed)]

    folder, steps, known = Path(config.run_dir), [], find_originality(trained)
    for number, (share, score) in enumerate(zip(shares, scores, strict=True), start=1):
        midi = write_score(score, folder / f"step_{number:02d}", config)
        to_start, to_end = (distances(piece.score, score) for piece in (start, end))
        far = f"{to_start['notes']:.0%} with the first file, {to_end['notes']:.0%} with the last"
        print(f"  {share:.0%} of the way; notes not shared: {far}")
        step = {"file": midi.name, "share": round(share, 6), "to_start": to_start, "to_end": to_end}
        steps.append(step | {"originality": report_copies(known, score)})
    if config.piano_roll and all(score.note_num() for score in scores):
        save_pianorolls(scores, folder / "steps.png", [f"{share:.0%}" for share in shares])
        print(f"picture     {(folder / 'steps.png').resolve()}")
    sources = [Path(config[key]).expanduser() for key in ("start", "end")]
    write_record(folder / "interpolation.json", trained, plain(config), sources, {"steps": steps})
    return [folder / str(step["file"]) for step in steps]
