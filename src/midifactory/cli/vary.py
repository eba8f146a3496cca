"""`midifactory vary`: a MIDI file as a VAE remembers it, moved in its latent by chance or towards an attribute.

With keep=rhythm|harmony|contour any model of tokens varies it, from a bar on: see varying.py.
"""

import sys
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from midifactory.cli import hydra_app, varying
from midifactory.cli.building import plain
from midifactory.cli.latent_pieces import (
    check_plain_number,
    load_latent_model,
    midi_files,
    read_piece,
    read_sampling,
    write_record,
    write_score,
)
from midifactory.cli.originality import find_originality, report_copies
from midifactory.errors import UserError
from midifactory.evaluation.reconstruction import distances
from midifactory.generation.latent import varied
from midifactory.generation.pieces import compose_latents
from midifactory.training.checkpoint import Trained


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("vary", run, sys.argv[1:] if argv is None else argv)


def run(config: DictConfig) -> list[Path]:
    """Write variation_01.mid, variation_02.mid, ... and variation.json."""
    if config.keep is not None:
        return varying.run(config)
    for name in ("from_bar", "bars", "tracks"):
        if config[name] is not None:
            raise UserError(f"{name}={config[name]}: what is to be kept there? add keep=rhythm|harmony|contour")
    check_plain_number(config, "amount")
    check_plain_number(config, "num_samples", least=1, whole=True)
    sampling = read_sampling(config)
    given = [config[key] is not None for key in ("attribute_with", "attribute_without")]
    if any(given) and not all(given):
        raise UserError("attribute_with and attribute_without belong together; give a folder of MIDI files for each")
    if type(config.attribute_amount) not in (int, float):
        raise UserError(f"attribute_amount={config.attribute_amount}: give a number; below 0 takes the attribute away")
    trained = load_latent_model(config, "vary")
    piece = read_piece(trained, config.prompt, "prompt", "vary")
    sources = [Path(config.prompt).expanduser()]
    latents = piece.latents
    if all(given):
        with_files, without_files = (midi_files(config[key], key) for key in ("attribute_with", "attribute_without"))
        direction = mean_latent(trained, with_files, "attribute_with")
        direction = direction - mean_latent(trained, without_files, "attribute_without")
        latents = latents + config.attribute_amount * direction
        sources += [*with_files, *without_files]

    rows = [varied(latents, config.amount, config.seed, row) for row in range(config.num_samples)]
    pieces = compose_latents(trained, rows, [piece.bars] * len(rows), sampling, config.seed)
    folder, variations, known = Path(config.run_dir), [], find_originality(trained)
    for number, variation in enumerate(pieces, start=1):
        midi = write_score(variation.score, folder / f"variation_{number:02d}", config)
        to_source = distances(piece.score, variation.score)
        print(f"  notes not shared with the source: {to_source['notes']:.0%}")
        copied = report_copies(known, variation.score)
        variations.append({"file": midi.name, "to_source": to_source, "originality": copied})
    write_record(folder / "variation.json", trained, plain(config), sources, {"variations": variations})
    return [folder / str(variation["file"]) for variation in variations]


def mean_latent(trained: Trained, paths: list[Path], key: str) -> Tensor:
    """The mean of all segments' latents of some files, (Z,) (attribute vectors of Roberts et al. 2018, 4)."""
    return torch.cat([read_piece(trained, path, key, "vary").latents for path in paths]).mean(0)
