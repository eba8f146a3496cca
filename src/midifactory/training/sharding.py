"""Training of a model that is split over several GPUs, with the checkpoints of any other training."""

from typing import Any

from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor
from torch.distributed.fsdp import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    FullyShardedDataParallel,
    StateDictType,
)
from torch.nn import Module
from torch.optim import Optimizer

from midifactory.models.transformer import Block


class Sharded(FSDPStrategy):
    """Fully sharded data parallel (Zhao et al. 2023): each process holds a part of the weights, of their gradients and
    of the optimiser's state, and gets a block's whole weights while it computes with it.

    Checkpoints are gathered and written by the first process as training/checkpoint_folder.py does; one of a single
    process can be resumed here, and the other way round. Lightning's own strategy writes files past the checkpoint
    plugin, and numbers the optimiser's states by the model's parameters, not by the optimiser's groups.
    """

    def __init__(self, **keywords: Any):
        super().__init__(auto_wrap_policy={Block}, state_dict_type="full", **keywords)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """Write what all processes have gathered."""
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(checkpoint, filepath, storage_options=storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint and give each process its part of weights and optimiser state."""
        checkpoint = self.checkpoint_io.load_checkpoint(self.broadcast(checkpoint_path), weights_only=weights_only)
        with self._whole(rank0_only=False):
            self._module.load_state_dict(checkpoint["state_dict"])
            for optimizer, stored in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
                names = self._names(optimizer)
                groups = [
                    group | {"params": [names[index] for index in group["params"]]} for group in stored["param_groups"]
                ]
                state = {names[index]: value for index, value in stored["state"].items()}
                part = FullyShardedDataParallel.optim_state_dict_to_load(
                    self._module, optimizer, {"state": state, "param_groups": groups}
                )
                optimizer.load_state_dict(part)
        return checkpoint

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole state, numbered as by torch, in the first process; nothing in the others."""
        optimizer = getattr(optimizer, "_optimizer", optimizer)  # Lightning wraps it
        with self._whole(rank0_only=True):
            found = FullyShardedDataParallel.optim_state_dict(self._module, optimizer)
        if not self.is_global_zero:
            return {}
        index = {name: number for number, name in enumerate(self._names(optimizer))}
        groups = [group | {"params": [index[name] for name in group["params"]]} for group in found["param_groups"]]
        return {"state": {index[name]: value for name, value in found["state"].items()}, "param_groups": groups}

    @property
    def _module(self) -> Module:
        assert self.model is not None, "set up first"
        return self.model

    def _names(self, optimizer: Optimizer) -> list[str]:
        """The names of an optimiser's parameters, in its order."""
        names: dict[Tensor, str] = {
            parameter: name.replace("_fsdp_wrapped_module.", "") for name, parameter in self._module.named_parameters()
        }
        return [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]

    def _whole(self, rank0_only: bool) -> Any:
        return FullyShardedDataParallel.state_dict_type(
            self._module,
            StateDictType.FULL_STATE_DICT,
            FullStateDictConfig(offload_to_cpu=True, rank0_only=rank0_only),
            FullOptimStateDictConfig(offload_to_cpu=True, rank0_only=rank0_only),
        )
