"""`from_pretrained` and `save_pretrained`, as users of the Hugging Face Hub know them; needs huggingface_hub."""

import os
from pathlib import Path
from typing import Any, Self

from symusic import Score

from midifactory.errors import UserError
from midifactory.export.composing import compose_music
from midifactory.export.hub import README, load_folder, write_files
from midifactory.training.checkpoint import Trained

try:
    from huggingface_hub import ModelHubMixin, snapshot_download
    from huggingface_hub.errors import HFValidationError
except ImportError as error:
    raise UserError(
        "huggingface_hub is not installed; pip install 'midifactory[hub]' (folders alone need it not: "
        "midifactory.export.hub.load_folder)"
    ) from error

_FILES = ["*.safetensors", "*.json", "*.md"]


class PretrainedModel(ModelHubMixin, library_name="midifactory", tags=["midi", "music", "symbolic-music"]):
    """A trained model of tokens that composes. A folder on this machine is read without asking any network."""

    # The mixin would make one of what __init__ takes, by a copy of the model.
    _hub_mixin_config = {}  # noqa: RUF012 (nothing is written to it)

    def __init__(self, trained: Trained, card: str | None = None):
        """card: the text of README.md that it is saved with; None for one of what the model itself tells."""
        self.trained, self.card = trained, card

    def compose(self, bars: int = 8, num_samples: int = 1, seed: int = 0, **wishes: Any) -> list[Score]:
        """New pieces; `wishes` are those of composing.compose_music. Raises UserError as it does."""
        return compose_music(self.trained, bars=bars, num_samples=num_samples, seed=seed, **wishes)

    def _save_pretrained(self, save_directory: Path) -> None:
        card = save_directory / README
        text = card.read_text(encoding="utf-8") if card.is_file() else self.card  # one that is there is somebody's own
        write_files(self.trained, save_directory)
        if text is not None:
            card.write_text(text, encoding="utf-8")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **keywords: Any) -> Self:
        """The model of a folder, of a checkpoint or of a repository on the Hub.

        keywords: revision, token, cache_dir, force_download, local_files_only; device. Raises UserError where there is
        no such model, where it is damaged, and for a model of note features.
        """
        return cls._from_pretrained(model_id=os.fspath(pretrained_model_name_or_path), **keywords)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **model_kwargs: Any,
    ) -> Self:
        device = str(model_kwargs.pop("device", "cpu"))
        if model_kwargs:
            raise UserError(f"{model_id}: from_pretrained knows no {min(model_kwargs)}; leave it out")
        folder = Path(model_id).expanduser()
        if not folder.exists():
            try:
                downloaded = snapshot_download(
                    model_id,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                    allow_patterns=_FILES,
                )
            except (OSError, HFValidationError) as error:  # what the Hub answers is an OSError, too
                reason = str(error).strip().splitlines()[0]
                raise UserError(f"{model_id}: no such folder, and not to be had from the Hub ({reason})") from error
            folder = Path(downloaded)
        trained = load_folder(folder, device)
        if not isinstance(trained, Trained):
            raise UserError(f"{model_id} is of note features; take midifactory.export.hub.load_folder")
        card = folder / README
        return cls(trained, card.read_text(encoding="utf-8") if card.is_file() else None)
