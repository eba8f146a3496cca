"""Uploading an exported folder to the Hugging Face Hub, when somebody asks for it."""

import re
from pathlib import Path

from midifactory.errors import UserError

_REPOSITORY = re.compile(r"[\w][\w.\-]*/[\w][\w.\-]*\Z", re.ASCII)


def check_repository(name: str) -> None:
    """Raise UserError for a name that is no OWNER/NAME, and where huggingface_hub is missing."""
    if not _REPOSITORY.match(name):
        raise UserError(f"push={name}: write OWNER/NAME, such as push=ada/chorales")
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise UserError(f"push={name} needs huggingface_hub; pip install 'midifactory[hub]'") from error


def push_folder(folder: Path, repository: str) -> str:
    """Make the repository where it is not there, upload the folder's files, return the address of the commit.

    Raises UserError where the Hub refuses or cannot be reached.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    api = HfApi()
    try:
        repo = api.create_repo(repository, exist_ok=True)
        return str(api.upload_folder(repo_id=repo.repo_id, folder_path=folder, commit_message="Add model"))
    except (HfHubHTTPError, OfflineModeIsEnabled, HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise UserError(
            f"push={repository}: {reason}; the folder is at {folder}, log in with: hf auth login"
        ) from error
