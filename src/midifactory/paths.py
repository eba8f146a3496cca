"""Where the Hydra configs lie, for a checkout and for an installed wheel."""

from pathlib import Path


def conf_dir() -> Path:
    """The absolute folder of the Hydra configs.

    The wheel carries them as `midifactory/conf`; an editable install has only the checkout's `conf/`.
    Absolute, because Hydra's `pkg://` fails for the second and relative paths fail through a root script.
    """
    package = Path(__file__).resolve().parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent.parent / "conf"
