"""Which parameters are updated how, and Muon.

Legend: M, N rows and columns of a weight.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

# Jordan et al. 2024: the slope at zero is as steep as can be, so that five steps bring all singular values near 1.
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """The parameters that are trained, in groups for an optimiser; a tied weight stands in one of them.

    Hidden weights (`hidden`: true; Muon's part) and the output layer decay, a tied embedding with it. What has no
    weight_decay: vectors (biases, norms) and embeddings, as each row of a table is seen too rarely to hold itself.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    outputs = {id(module.weight) for name, module in model.named_modules() if is_output(name, module)}
    hidden, decaying, others = [], [], []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in outputs:
            decaying.append(parameter)
        elif parameter.dim() < 2 or id(parameter) in tables:
            others.append(parameter)
        else:
            hidden.append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": hidden, "hidden": True},
        {"params": decaying, "hidden": False},
        {"params": others, "hidden": False, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def is_output(name: str, module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether `module`, called `name` in its model, is an output layer: models call one `head`, and several `heads`."""
    *_, parent, own = ("", *name.split("."))
    return isinstance(module, nn.Linear) and (own == "head" or parent == "heads")


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, for hidden weights (Jordan et al. 2024), and AdamW for all other parameters.

    Groups with `hidden`: true are Muon's, as `parameter_groups` makes them; weights of more than two dimensions are
    stacks of matrices. The update has the size of AdamW's (Liu et al. 2025, "Muon is scalable for LLM training"), so
    that one learning rate and one weight decay serve both. Each step costs about 15 matrix products for a weight of
    (M, N); they run in bfloat16 on a GPU, and in float32 on a CPU, where bfloat16 is slower. fused: of AdamW.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        fused: bool = False,
    ):
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("eps", eps)):
            if not value >= 0:
                raise ValueError(f"Invalid {name}: {value}")
        for name, value in (("momentum", momentum), ("betas", betas[0]), ("betas", betas[1])):
            if not 0 <= value < 1:
                raise ValueError(f"Invalid {name}: {value}")
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "momentum": momentum, "fused": fused, "hidden": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns what `closure` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            (self._muon if group["hidden"] else self._adamw)(group, parameters)
        return loss

    def _muon(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        for weight in parameters:
            state, gradient = self.state[weight], weight.grad
            assert gradient is not None
            if not state:
                state["momentum"] = torch.zeros_like(gradient)
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            update = orthogonalised(gradient.lerp(state["momentum"], group["momentum"]))  # Nesterov's momentum
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(update, alpha=-group["lr"] * 0.2 * max(weight.shape[-2:]) ** 0.5)

    def _adamw(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {
                    "step": torch.zeros((), device=parameter.device if group["fused"] else "cpu"),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters],  # type: ignore[misc]
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=group["fused"],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonalised(matrices: Tensor) -> Tensor:
    """(..., M, N): U V' of each matrix U S V', its singular values between about 0.7 and 1.2 instead of all 1.

    Newton and Schulz's iteration, without a decomposition.
    """
    a, b, c = _NEWTON_SCHULZ
    x = matrices if matrices.device.type == "cpu" else matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT  # (..., M, M)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)
