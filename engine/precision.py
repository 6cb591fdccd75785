"""The arithmetic of a training step, chosen once: which precision, and how a loss becomes a step.

See docs/running.md, section 13.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from utils.system.errors import UsageError

# NVIDIA's levels in terms of torch's autocast; O3, pure half precision, has no counterpart that trains.
OPT_LEVELS = {"O0": "fp32", "O1": "fp16", "O2": "fp16", "O3": None}
BACKENDS = ("torch", "apex")  # of mixed precision


def weights_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """All that an optimizer moves."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


class Precision:
    """Train in float32: forward as it is, then backward, clip, step. The base of the others."""

    name = "fp32"
    patience = 1  # steps in a row with a loss that is not finite before a run is given up

    def __init__(self, **parts: Any) -> None:
        """``parts``: with a state of their own, by the names that checkpoints call them."""
        self.parts = parts
        self.skipped = 0  # steps left out because a gradient overflowed

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Get ready, once, before the model is wrapped and a checkpoint is loaded."""

    def autocast(self) -> AbstractContextManager:
        """The context that a forward pass and its loss run in."""
        return nullcontext()

    def backward(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Add the gradients of a loss to those that are there. ``optimizer``: of the weights."""
        loss.backward()

    def step(self, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        """Do one update by the gradients that are there. ``clip``: largest gradient norm."""
        if clip is not None:
            nn.utils.clip_grad_norm_(weights_of(optimizer), clip)
        optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """What to go on with: the name of the precision, the steps left out so far, the state of the parts."""
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return {"name": self.name, "skipped": self.skipped, **parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""
        self.skipped = state.get("skipped", 0)  # older files have no count
        for name, part in self.parts.items():
            if state.get(name):
                part.load_state_dict(state[name])


class BFloat16(Precision):
    """Train under autocast to bfloat16, whose range is that of float32: no scaling is needed."""

    name = "bf16"

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device_type = device.type

    def autocast(self) -> AbstractContextManager:
        """Run forward pass and loss in bfloat16 where that is safe."""
        return torch.autocast(self.device_type, dtype=torch.bfloat16)


class Float16(Precision):
    """Train under autocast to float16, with a scaled loss. Gradients are unscaled once, before they are clipped.

    A step whose gradients overflow is left out and counted; the schedule goes by epochs and does not notice.
    """

    name = "fp16"
    patience = 20  # an overflow halves the scale: from 2**16, this many in a row are no longer due to it

    def __init__(self, device: torch.device, scaler: Any = None) -> None:
        self.scaler = torch.amp.GradScaler(device.type) if scaler is None else scaler
        super().__init__(scaler=self.scaler)
        self.device_type = device.type

    def autocast(self) -> AbstractContextManager:
        """Run forward pass and loss in float16 where that is safe."""
        return torch.autocast(self.device_type, dtype=torch.float16)

    def backward(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Add the gradients of the scaled loss."""
        self.scaler.scale(loss).backward()

    def step(self, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        """Do an update where every gradient is finite."""
        if clip is not None:
            self.scaler.unscale_(optimizer)  # else the norm would be that of scaled gradients
            nn.utils.clip_grad_norm_(weights_of(optimizer), clip)
        done = []
        # The scaler calls the optimizer, and with it this hook, only where every gradient is finite.
        hook = optimizer.register_step_post_hook(lambda *_: done.append(True))
        try:
            self.scaler.step(optimizer)
        finally:
            hook.remove()
        self.scaler.update()  # halves the scale after an overflow
        self.skipped += not done


class Apex(Precision):
    """Train by NVIDIA apex, as the published code used it, where an apex is installed that still has ``amp``."""

    patience = 20

    def __init__(self, amp: Any, opt_level: str) -> None:
        super().__init__(amp=amp)
        self.amp, self.opt_level = amp, opt_level
        self.name = f"apex {opt_level}"

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Let apex change model and optimizer to its level."""
        self.amp.initialize(model, optimizer, opt_level=self.opt_level, verbosity=0)

    def backward(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Add the gradients of the loss as apex scales it."""
        with self.amp.scale_loss(loss, optimizer) as scaled:
            scaled.backward()

    def step(self, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        """Do one update of the weights that apex keeps."""
        if clip is not None:
            # The float32 copies: they are what is moved.
            nn.utils.clip_grad_norm_(self.amp.master_params(optimizer), clip)
        optimizer.step()


def _float16(device: torch.device) -> Precision:
    if device.type == "cpu":
        raise UsageError("--precision fp16 needs a GPU; a CPU takes fp32 or bf16")
    return Float16(device)


def _best(device: torch.device) -> Precision:
    if device.type != "cuda":
        return Precision()
    # Emulation would run too, but without the units that make it fast.
    return BFloat16(device) if torch.cuda.is_bf16_supported(including_emulation=False) else Float16(device)


# By name, what makes a precision for a device, or raises UsageError where it cannot be had.
PRECISIONS: dict[str, Callable[[torch.device], Precision]] = {
    "auto": _best,
    "fp32": lambda _device: Precision(),
    "bf16": BFloat16,
    "fp16": _float16,
}


def choose_precision(
    name: str, device: torch.device, *, backend: str = "torch", opt_level: str | None = None
) -> Precision:
    """Choose the precision of a run. ``auto``: bfloat16 where the GPU has it, else float16; float32 on a CPU.

    ``opt_level`` O0 to O2 stands for a precision, as in apex. Raises UsageError for what cannot be had.
    """
    if opt_level is not None and OPT_LEVELS[opt_level] is None:
        raise UsageError(
            f"--opt_level {opt_level} (everything in half precision, no scaling) does not train: use O1 or O2"
        )
    if opt_level is not None and name != "auto":
        raise UsageError(f"--opt_level {opt_level} and --precision {name} both choose the precision: give one")
    if backend == "apex":
        return Apex(_apex_amp(device), opt_level or "O1")
    return PRECISIONS[name if opt_level is None else OPT_LEVELS[opt_level]](device)


def _apex_amp(device: torch.device) -> Any:
    advice = "use --amp_backend torch, which does the same"
    try:
        amp = import_module("apex.amp")
        amp.initialize, amp.scale_loss  # noqa: B018 - the package of that name on PyPI has neither
    except (ImportError, AttributeError):
        raise UsageError(f"--amp_backend apex: no NVIDIA apex with amp is installed: {advice}") from None
    if device.type != "cuda":
        raise UsageError(f"--amp_backend apex needs an NVIDIA GPU: {advice}")
    return amp
