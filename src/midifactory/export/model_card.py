"""The README.md of an exported model: a head as the Hugging Face Hub reads it, and what the run's files say.

Nothing is claimed that is not recorded: a figure that the run did not write is left out.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from midifactory.errors import UserError
from midifactory.training.checkpoint import Trained
from midifactory.training.notes import TrainedNotes

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.\-]*\Z")
# What a run's command line says of this machine alone.
_OF_THE_MACHINE = (
    "run_dir",
    "hydra",
    "study",
    "search",
    "logger",
    "callbacks",
    "launcher",
    "resume",
    "trainer.devices",
)


@dataclass(frozen=True)
class About:
    """What a model card says beside what the model itself tells.

    license: an identifier of the Hub, `other` where nobody has named one; license_name: for `other`. overrides: what
    followed `midifactory train`. result: a run's result.json. Raises UserError for what is no identifier.
    """

    name: str = ""
    license: str = "other"
    license_name: str | None = None
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _LICENSE.match(self.license):
            raise UserError(
                f"license={self.license}: write it as the Hub does, in small letters, such as mit, apache-2.0, "
                "cc-by-4.0, or other with license_name=NAME"
            )
        if self.license_name and self.license != "other":
            raise UserError(f"license_name={self.license_name} is for license=other, not for {self.license}")


def about_run(checkpoint: Path, settings: dict[str, Any], **stated: Any) -> About:
    """What the run of a checkpoint says of it, as far as it is there, and what is `stated` besides.

    settings: a checkpoint's own, of which the seed is taken. The run's figures are those of one of its checkpoints.
    """
    run = checkpoint.resolve().parent.parent
    try:
        result = json.loads((run / "result.json").read_bytes())
    except (OSError, ValueError):
        result = {}
    try:
        overrides = yaml.safe_load((run / ".hydra" / "overrides.yaml").read_bytes()) or []
    except (OSError, yaml.YAMLError):
        overrides = []
    if not isinstance(result, dict) or Path(str(result.get("checkpoint"))).name != checkpoint.name:
        result = {}
    kept = [str(item) for item in overrides if not str(item).lstrip("+~").startswith(_OF_THE_MACHINE)]
    return About(
        overrides=tuple(_without_folders(item) for item in kept),
        seed=settings.get("seed"),
        result=result,
        **stated,
    )


def model_card(trained: Trained | TrainedNotes, about: About) -> str:
    """The whole README.md."""
    name = about.name or f"{trained.corpus} {_class_of(trained)}"
    head = yaml.safe_dump(_head(trained, about, name), sort_keys=False, allow_unicode=True)
    parts = [f"---\n{head}---", f"# {name}", _summary(trained)]
    parts += [_figures(about.result), _training(trained, about), _use(trained), _limits(trained, about)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(trained: Trained | TrainedNotes, about: About, name: str) -> dict[str, Any]:
    head: dict[str, Any] = {"license": about.license}
    if about.license == "other":
        head["license_name"] = about.license_name or "not-stated"
    head |= {"library_name": "midifactory", "tags": ["midi", "music", "symbolic-music", "music-generation"]}
    metrics = [
        {"type": "nats_per_note", "name": f"nats per note, {split}", "value": round(figures["nats_per_note"], 4)}
        for split, figures in _splits(about.result)
    ]
    if metrics:
        task = {"type": "other", "name": "symbolic music modelling"}
        results = [{"task": task, "dataset": {"type": trained.corpus, "name": trained.corpus}, "metrics": metrics}]
        head["model-index"] = [{"name": name, "results": results}]
    return head


def _splits(result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = [(split, result.get(split)) for split in ("validation", "test")]
    return [(split, figures) for split, figures in found if isinstance(figures, dict) and figures.get("nats_per_note")]


def _class_of(trained: Trained | TrainedNotes) -> str:
    return trained.model_config.get("_target_", type(trained.model).__name__).rpartition(".")[2]


def _summary(trained: Trained | TrainedNotes) -> str:
    count = sum(parameter.numel() for parameter in trained.model.parameters())
    lines = [
        f"A {_class_of(trained)} of {count:,} parameters that composes symbolic music (MIDI), trained with "
        f"MIDI AI Factory on the corpus `{trained.corpus}`."
    ]
    if isinstance(trained, Trained):
        tokenizer = trained.tokenizer
        lines.append(
            f"It reads {tokenizer.scheme} tokens ({tokenizer.vocab_size:,} of them), up to {trained.window:,} at once."
        )
        if trained.conditions is not None:
            lines += ["", "It may be asked for:", "", *(f"- {line}" for line in trained.conditions.describe())]
    else:
        lines.append("It reads note features, not tokens.")
    return "\n".join(lines)


def _figures(result: dict[str, Any]) -> str:
    rows = [
        f"| {split} | {figures.get('pieces', '')} | {figures['nats_per_note']:.3f} | "
        + " | ".join(_number(figures.get(f"{kind}_nats_per_note")) for kind in ("unigram", "uniform"))
        + " |"
        for split, figures in _splits(result)
    ]
    if not rows:
        return ""
    table = ["| split | pieces | nats per note | unigram model | uniform model |", "|---|---|---|---|---|", *rows]
    meaning = (
        "Nats per note: the negative log-likelihood of all tokens of a held-out piece, divided by the notes of its "
        "source file."
    )
    return "\n".join(["## Held-out pieces", "", *table, "", meaning])


def _training(trained: Trained | TrainedNotes, about: About) -> str:
    lines = ["## Training", ""]
    if about.overrides:
        lines += ["```bash", " ".join(["midifactory", "train", *about.overrides]), "```", ""]
    result = about.result
    facts = {
        "seed": about.seed,
        "epochs": result.get("epochs"),
        "steps": result.get("steps"),
        "minutes": result.get("minutes"),
        "processes": result.get("processes"),
    }
    lines += [f"- {name}: {value}" for name, value in facts.items() if value is not None]
    lines.append(f"- checkpoint: SHA-256 {trained.sha256}")
    if isinstance(trained, Trained) and trained.finetuned:
        lines.append(f"- fine-tuned from: {Path(trained.finetuned['from']).name}")
    return "\n".join(lines)


def _use(trained: Trained | TrainedNotes) -> str:
    lines = ["## Use", "", "```bash", "midifactory generate checkpoint=FOLDER", "```"]
    if isinstance(trained, Trained):
        lines += [
            *("", "FOLDER is this one, downloaded. In Python:", "", "```python"),
            "from midifactory.export.pretrained import PretrainedModel",
            "",
            'model = PretrainedModel.from_pretrained("FOLDER")',
            'model.compose(bars=8)[0].dump_midi("piece.mid")',
            "```",
        ]
    return "\n".join(lines)


def _limits(trained: Trained | TrainedNotes, about: About) -> str:
    licence = f"`{about.license}`" if about.license != "other" else about.license_name or "not stated"
    return "\n".join(
        [
            "## Limits and rights",
            "",
            f"It knows music like that of `{trained.corpus}` and nothing else, and may repeat what it was trained on.",
            f"Licence: {licence}. The rights in the training pieces are those of their corpus.",
        ]
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _without_folders(override: str) -> str:
    """`data.root=/home/me/midis` as `data.root=midis`: where files lay is nobody else's business."""
    key, given, value = override.partition("=")
    text = value.strip("'\"")
    if given and (text.startswith(("/", "~", "..", "\\")) or PureWindowsPath(text).drive):
        return f"{key}={PureWindowsPath(text).name}"
    return override
