"""The page of `midifactory evaluate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from midifactory.music.score import UnreadableMidi, load_score
from midifactory.render.evaluation import save_evaluation_report

PAGE = "evaluation.html"
_PLAYED = 6  # samples that are drawn and can be heard


def write_report(record: Mapping[str, Any], folder: Path) -> Path:
    """Write evaluation.html into `folder`, the run's, from what is in its evaluation.json, with some of the samples."""
    samples = record["samples"] or {"files": [], "from": ""}
    home = folder / "samples" if samples["from"] == "model" else Path(samples["from"]).expanduser()
    music = []
    for name in samples["files"][:: max(1, len(samples["files"]) // _PLAYED)][:_PLAYED]:
        try:
            music.append((name, load_score(home / name)))
        except UnreadableMidi:  # gone since it was measured
            continue
    save_evaluation_report(folder / PAGE, record, music)
    return folder / PAGE
