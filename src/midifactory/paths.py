"""Where the Hydra configs and the pretrained model lie, for a checkout and for an installed wheel."""

from pathlib import Path


def conf_dir() -> Path:
    """The absolute folder of the Hydra configs.

    The wheel carries them as `midifactory/conf`; an editable install has only the checkout's `conf/`.
    Absolute, because Hydra's `pkg://` fails for the second and relative paths fail through a root script.
    """
    package = Path(__file__).resolve().parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent.parent / "conf"


def box_dir() -> Path:
    """The folder of the pretrained model that comes with the package; not there where none was made."""
    return Path(__file__).resolve().parent / "box"
