"""Classes by their dotted names, of one kind only: checkpoints and replay files name classes, and are not trusted."""

import importlib
from typing import Any

from midifactory.errors import UserError


def load_class(target: str, kind: Any, key: str) -> Any:
    """The class `target`, which must be a subclass of the class `kind`.

    Raises UserError, naming the config `key`, for anything else.
    """
    module, _, name = str(target).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{key}._target_={target}: cannot be imported ({error})") from error
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise UserError(f"{key}._target_={target} is no {kind.__name__}; see {kind.__module__}")
    return found
