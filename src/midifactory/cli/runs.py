"""Finding runs on disk: the newest one, its checkpoints, and the settings it was started with.

Where there is no run yet, commands that need a model take the one in the box (midifactory/box, see its CARD.md).
"""

import sys
from pathlib import Path

from omegaconf import OmegaConf

from midifactory.errors import UserError
from midifactory.paths import box_dir
from midifactory.training.checkpoint_folder import checkpoints_by_age, is_checkpoint, newest_good, stored_at

OUTPUTS = Path("outputs")
BOX = "box"  # names the model in the box wherever a checkpoint is asked for; a folder of this name is ./box


def run_folders() -> list[Path]:
    """Folders of training runs and sweep jobs below outputs/, the most lately written last."""
    folders = [path for path in OUTPUTS.glob("**/checkpoints") if path.is_dir()]
    # A save renames, which a folder's own time tells; what lies in it may be renamed while this looks.
    newest_last = sorted(folders, key=lambda path: max(path.stat().st_mtime, path.parent.stat().st_mtime))
    return [path.parent for path in newest_last]


def _best_in(folder: Path) -> Path | None:
    """The best checkpoint in a folder of checkpoints, its last one before the first validation."""
    return next(filter(stored_at, (folder / "best.ckpt", folder / "last.ckpt")), None)


def newest_checkpoint(or_box: bool = True) -> Path:
    """The best checkpoint of the newest run that has one (its last one before the first validation).

    or_box: without any, the model in the box, and a line that says so. Raises UserError where there is none.
    """
    for folder in reversed(run_folders()):
        if found := _best_in(folder / "checkpoints"):
            return found
    if or_box and is_checkpoint(box_dir()):
        print(f"no run in {OUTPUTS}: the model in the box (chorales for four voices)", flush=True)
        return box_dir()
    raise UserError(f"no checkpoint below {OUTPUTS.resolve()}; train first: python train.py")


def checkpoint_in(text: str) -> Path:
    """The checkpoint that `text` names: one, a run's folder (its best), `latest` (the newest run's), or `box`.

    Raises UserError where there is none.
    """
    if text == "latest":
        return newest_checkpoint(or_box=False)
    if text == BOX:
        if is_checkpoint(box_dir()):
            return box_dir()
        raise UserError(
            f"checkpoint={BOX}: this checkout holds no pretrained model; train one, and see scripts/make_box.py"
        )
    path = Path(text).expanduser()
    if path.is_dir() and not is_checkpoint(path):
        if found := _best_in(path / "checkpoints") or _best_in(path):
            return found
        raise UserError(f"checkpoint={text}: this folder has no checkpoints/best.ckpt; name a run below outputs/train")
    if path.suffix in (".onnx", ".pt2") and is_checkpoint(path.parent):
        return path.parent
    return path


def run_to_resume(text: str) -> tuple[Path, Path]:
    """The folder of the run that `resume=text` means, and its checkpoint to go on from.

    `text` is `latest`, a folder, whose newest checkpoint is taken that is whole, or a checkpoint in its checkpoints/.
    Says which were passed over for damage. Raises UserError where there is no run, or no checkpoint is whole.
    """
    if text == "latest":
        folders = [folder for folder in run_folders() if any(checkpoints_by_age(folder / "checkpoints"))]
        if not folders:
            raise UserError(f"resume=latest: no run below {OUTPUTS.resolve()} has a checkpoint; train first")
        return folders[-1], _newest_good(text, folders[-1])
    path = Path(text).expanduser()
    named = is_checkpoint(path)
    folder = path.parent.parent if named else path
    if not (stored_at(path) if named else path.exists()) or not (folder / ".hydra" / "overrides.yaml").is_file():
        raise UserError(
            f"resume={text}: no run there; give resume=latest, a folder below outputs/train, or its last.ckpt"
        )
    return folder, path if named else _newest_good(text, folder)


def _newest_good(text: str, folder: Path) -> Path:
    found, refused = newest_good(folder / "checkpoints")
    for error in refused:
        print(f"warning: {error}", file=sys.stderr, flush=True)
    if found is None:
        saved = f"none of its {len(refused)} checkpoints is whole" if refused else "this run saved no checkpoint"
        raise UserError(f"resume={text}: {saved}; start it again without resume")
    if refused:
        print(f"warning: resume={text}: going on from {found}", file=sys.stderr, flush=True)
    return found


def stored_overrides(folder: Path) -> list[str]:
    """The command line a run was started with, as Hydra recorded it."""
    return [str(item) for item in OmegaConf.load(folder / ".hydra" / "overrides.yaml")]
