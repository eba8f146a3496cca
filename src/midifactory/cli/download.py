"""`midifactory download`: the corpora that are known by name, and one of them fetched and unpacked."""

import sys
from collections.abc import Mapping

from midifactory.cli.hydra_app import EXIT_INTERRUPTED, report
from midifactory.errors import UserError
from midifactory.music.registry import CORPORA_ROOT, MIRROR, REGISTRY, NamedCorpus

USAGE = f"""usage: midifactory download [NAME] [data.root=FOLDER] [data.archive=FILE]

Without NAME: the corpora that are known. With it: show the terms and unpack the corpus to data.root (default:
{CORPORA_ROOT.as_posix()}/NAME), from data.archive, from the copy in the folder ${MIRROR}, or from the web."""


def main(argv: list[str] | None = None) -> int:
    """List the registry, or make one corpus ready; returns 0, or `report`'s code for what went wrong."""
    words = argv or []
    if any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return 0
    try:
        options = dict(word.split("=", 1) for word in words if "=" in word)
        names = [word for word in words if "=" not in word] + [options.pop(key) for key in ("data",) if key in options]
        unknown = [key for key in options if key not in ("data.root", "data.archive")]
        if unknown or len(names) > 1 or (options and not names):
            wrong = unknown[0] if unknown else f"{len(names)} names"
            raise UserError(f"download takes one NAME, data.root and data.archive, not {wrong}; see --help")
        if names:
            _download(names[0], options)
        else:
            _list()
    except KeyboardInterrupt:
        print("midifactory: interrupted; run the same command again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        return report(error)
    return 0


def _download(name: str, options: Mapping[str, str]) -> None:
    corpus = NamedCorpus(name, options.get("data.root") or None, archive=options.get("data.archive") or None)
    print(corpus.entry.terms(), flush=True)
    root = corpus.prepare()
    print(f"ready: {root}; train on it with: midifactory train data={name}", end="")
    print("" if root == CORPORA_ROOT / name else f" data.root={root}")


def _list() -> None:
    rows = [("name", "files", "MB", "verified", "here", "licence")]
    for name, entry in REGISTRY.items():
        root = CORPORA_ROOT / name
        here = "yes" if root.is_dir() and any(root.iterdir()) else "no"
        size = f"{entry.size / 1e6:.0f}" if entry.size else "?"
        verified = "yes" if entry.verified else "no"
        rows.append((name, f"{entry.files:,}", size, verified, here, entry.licence))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for name, files, size, *rest in rows:
        cells = [name.ljust(widths[0]), files.rjust(widths[1]), size.rjust(widths[2])]
        cells += [cell.ljust(width) for cell, width in zip(rest, [*widths[3:], 0], strict=True)]
        print("  ".join(cells))
    print("\nverified: two sources agree on address and checksum. Fetch one: midifactory download NAME")
