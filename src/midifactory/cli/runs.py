"""Finding runs on disk: the newest one, its checkpoints, and the settings it was started with."""

from pathlib import Path

from omegaconf import OmegaConf

from midifactory.errors import UserError

OUTPUTS = Path("outputs")


def run_folders() -> list[Path]:
    """Folders of training runs and sweep jobs below outputs/, the most lately written last."""
    folders = [path.parent for path in OUTPUTS.glob("**/checkpoints") if path.is_dir()]
    return sorted(
        folders, key=lambda folder: max(p.stat().st_mtime for p in [folder, *(folder / "checkpoints").iterdir()])
    )


def newest_checkpoint() -> Path:
    """The best checkpoint of the newest run that has one (its last one before the first validation)."""
    for folder in reversed(run_folders()):
        for name in ("best.ckpt", "last.ckpt"):
            if (folder / "checkpoints" / name).is_file():
                return folder / "checkpoints" / name
    raise UserError(f"no checkpoint below {OUTPUTS.resolve()}; train first: python train.py")


def checkpoint_in(text: str) -> Path:
    """`text` names a checkpoint, a run's folder, whose best checkpoint is meant, or `latest`, the newest run's."""
    if text == "latest":
        return newest_checkpoint()
    path = Path(text).expanduser()
    if path.is_dir():
        for name in ("best.ckpt", "last.ckpt"):
            for candidate in (path / "checkpoints" / name, path / name):
                if candidate.is_file():
                    return candidate
        raise UserError(f"checkpoint={text}: this folder has no checkpoints/best.ckpt; name a run below outputs/train")
    return path


def run_to_resume(text: str) -> Path:
    """The folder of the run that `resume=text` means: `latest`, a folder, or a checkpoint in its checkpoints/.

    Raises UserError where there is none, or it has no last.ckpt yet.
    """
    if text == "latest":
        folders = [folder for folder in run_folders() if (folder / "checkpoints" / "last.ckpt").is_file()]
        if not folders:
            raise UserError(f"resume=latest: no run below {OUTPUTS.resolve()} has a last.ckpt; train first")
        return folders[-1]
    path = Path(text).expanduser()
    folder = path.parent.parent if path.suffix == ".ckpt" else path
    if not path.exists() or not (folder / ".hydra" / "overrides.yaml").is_file():
        raise UserError(
            f"resume={text}: no run there; give resume=latest, a folder below outputs/train, or its last.ckpt"
        )
    if path.is_dir() and not (folder / "checkpoints" / "last.ckpt").is_file():
        raise UserError(f"resume={text}: this run saved no last.ckpt; start it again without resume")
    return folder


def stored_overrides(folder: Path) -> list[str]:
    """The command line a run was started with, as Hydra recorded it."""
    return [str(item) for item in OmegaConf.load(folder / ".hydra" / "overrides.yaml")]
