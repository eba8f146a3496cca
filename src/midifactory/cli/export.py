"""`midifactory export`: a trained model as files for other programs."""

import difflib
import sys
from pathlib import Path

from omegaconf import DictConfig

from midifactory.cli import hydra_app
from midifactory.cli.runs import checkpoint_in, newest_checkpoint
from midifactory.errors import UserError
from midifactory.export.hub import load_folder, refuse_filled, save_folder
from midifactory.export.model_card import about_run
from midifactory.export.onnx import save_onnx
from midifactory.export.program import save_program
from midifactory.export.push import check_repository, push_folder
from midifactory.training.checkpoint_folder import TORCH_PROGRAM, read_card

FORMATS = ("hub", "onnx", "torch_export")
_OF_HUB = {"name": None, "license": "other", "license_name": None, "push": None}


def main(argv: list[str] | None = None) -> None:
    """Run the command; `argv` defaults to the process's arguments."""
    hydra_app.run("export", export, sys.argv[1:] if argv is None else argv)


def export(config: DictConfig) -> Path:
    """Write the checkpoint in the format that `config` (conf/export.yaml) names; returns the folder."""
    name = str(config.format)
    if name not in FORMATS:
        near = difflib.get_close_matches(name, FORMATS, n=1, cutoff=0.0)[0]
        raise UserError(f"format={name}: choose one of {', '.join(FORMATS)} (nearest: {near})")
    for key, usual in _OF_HUB.items():
        if name != "hub" and config[key] != usual:
            raise UserError(f"{key}={config[key]} is for format=hub, not for format={name}; leave it out")
    if config.push:
        check_repository(str(config.push))
    folder = refuse_filled(config.folder if config.folder else Path(config.run_dir) / name)
    checkpoint = checkpoint_in(config.checkpoint) if config.checkpoint else newest_checkpoint()
    trained = load_folder(checkpoint)
    if name == "hub":
        stated = {"license": str(config.license), "license_name": config.license_name, "name": config.name or ""}
        settings = read_card(checkpoint).get("settings") or {}
        save_folder(trained, folder, about_run(checkpoint, settings, **stated))
        _print_files(folder)
        print(f"  use it  midifactory generate checkpoint={folder}")
        if config.push:
            print(f"  pushed  {push_folder(folder, str(config.push))}")
    elif name == "onnx":
        _, apart = save_onnx(trained, folder)
        _print_files(folder)
        print(f"  logits differ from torch's by {apart:.1e} at most")
        print(f"  use it  midifactory generate engine=onnx checkpoint={folder}")
    else:
        save_program(trained, folder)
        _print_files(folder)
        print(f'  use it  torch.export.load("{folder / TORCH_PROGRAM}").module()')
    return folder


def _print_files(folder: Path) -> None:
    print(folder.resolve())
    for path in sorted(folder.iterdir()):
        print(f"  {path.name:<18} {path.stat().st_size:>12,} bytes")
