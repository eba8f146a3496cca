"""`midifactory styles`: the styles that generate knows, a line each, those of the user's own folder among them."""

from pathlib import Path

from midifactory.cli.hydra_app import report
from midifactory.errors import UserError
from midifactory.paths import conf_dir

USAGE = """usage: midifactory styles [--config-dir FOLDER]

The styles of generate, each with the first comment line of its YAML. A file FOLDER/style/NAME.yaml adds one:
midifactory generate --config-dir FOLDER style=NAME"""
_FOLDER_FLAGS = ("--config-dir", "-cd")


def main(argv: list[str] | None = None) -> int:
    """List the styles; returns 0, or `report`'s code for what went wrong."""
    words = list(argv or [])
    if any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return 0
    try:
        found = styles([conf_dir(), *_folders(words)])
    except UserError as error:
        return report(error)
    width = max(map(len, found))
    for name, line in sorted(found.items()):
        print(f"{name:<{width}}  {line}")
    print("\nmidifactory generate style=NAME; a YAML in conf/style, or in style/ of a --config-dir, adds one")
    return 0


def styles(folders: list[Path]) -> dict[str, str]:
    """The line of each style below the config folders' style/, by name; of equal names that of the last folder."""
    found = {}
    for folder in folders:
        for path in sorted((folder / "style").glob("*.yaml")):
            lines = path.read_text(encoding="utf-8").splitlines()
            comment = next((line for line in lines if line.startswith("#") and not line.startswith("# @package")), "")
            found[path.stem] = comment.lstrip("# ").strip() or "(no comment line says what it is)"
    return found


def _folders(words: list[str]) -> list[Path]:
    folders = []
    while words:
        name, given, value = words.pop(0).partition("=")
        if name not in _FOLDER_FLAGS or not (given or words):
            raise UserError(f"styles takes --config-dir FOLDER alone, not {name}; see midifactory styles --help")
        folder = Path(value if given else words.pop(0)).expanduser()
        if not (folder / "style").is_dir():
            raise UserError(f"--config-dir {folder}: no folder style/ there; put your YAMLs into {folder / 'style'}")
        folders.append(folder)
    return folders
