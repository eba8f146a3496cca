"""`search=optuna` for Hydra, which looks for sweepers in the package `hydra_plugins` alone.

Hydra imports this file at every start, so it loads nothing; the work is done by midifactory.cli.search.
"""

from collections.abc import Mapping
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SearchSweeper(Sweeper):
    """Jobs whose settings optuna chooses.

    max_batch_size: how many at a time, where `search.n_jobs` does not say. params: the space, as for Hydra's own
    sweeper.
    """

    def __init__(self, max_batch_size: int | None = None, params: Mapping[str, str] | None = None):
        self.max_batch_size, self.params = max_batch_size, params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what the jobs need."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the search; `arguments` are what was typed."""
        from midifactory.cli.search import run_search

        return run_search(self, arguments)


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="midifactory",
    node={
        "_target_": "hydra_plugins.midifactory_sweeper.sweeper.SearchSweeper",
        "max_batch_size": None,
        "params": {},
    },
    provider="midifactory",
)
