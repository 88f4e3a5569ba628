"""Knowledge distillation (Hinton, Vinyals & Dean 2015) that you can read, check and use.

The public names are listed below in groups. Write `from minikd import softmax, train`, and `help(softmax)` for an
explanation. Each name is loaded when you first use it, so `import minikd` itself takes no time.
"""

__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    # The core: pure functions on arrays of NumPy or CuPy, each gradient beside its cost
    "minikd.core.softmax": ("softmax", "log_softmax"),
    "minikd.core.losses": ("soft_cross_entropy", "hard_cross_entropy", "distillation_loss", "logit_matching"),
    # Networks: train them, ask them, keep them
    "minikd.training.network": ("Network",),
    "minikd.training.config": ("TrainConfig",),
    "minikd.training.loop": ("train", "Run"),
    "minikd.training.answers": ("logits", "count_errors"),
    "minikd.training.runs": ("save_network", "load_network"),
    "minikd.distil.onnx_model": ("to_onnx",),
    "minikd.distil.student": ("Student", "load_student"),
    "minikd.engines.device": ("get_device",),
    # Data, and a teacher's soft targets for them
    "minikd.data.images": ("Dataset", "load_mnist", "load_idx_folder"),
    "minikd.data.frames": ("Frames",),
    "minikd.data.soft_targets": ("SoftTargets", "soft_targets_from", "logits_from_probabilities"),
    "minikd.training.teacher": ("soft_targets", "load_teacher"),
    # The gradient doctor
    "minikd.doctor": ("check_gradient",),
    # Theory: ensembles, classes that the transfer set lacked, and how high a high temperature is
    "minikd.theory.ensembles": ("geometric_mean", "arithmetic_mean"),
    "minikd.theory.priors": ("matching_shift", "shift_classes"),
    "minikd.theory.limits": ("sufficient_temperature",),
}
"""The public names by the module that defines them."""

__all__ = [name for names in _HOMES.values() for name in names]

if TYPE_CHECKING:  # the same names for type-checkers and editors
    from minikd.core.losses import distillation_loss as distillation_loss
    from minikd.core.losses import hard_cross_entropy as hard_cross_entropy
    from minikd.core.losses import logit_matching as logit_matching
    from minikd.core.losses import soft_cross_entropy as soft_cross_entropy
    from minikd.core.softmax import log_softmax as log_softmax
    from minikd.core.softmax import softmax as softmax
    from minikd.data.frames import Frames as Frames
    from minikd.data.images import Dataset as Dataset
    from minikd.data.images import load_idx_folder as load_idx_folder
    from minikd.data.images import load_mnist as load_mnist
    from minikd.data.soft_targets import SoftTargets as SoftTargets
    from minikd.data.soft_targets import logits_from_probabilities as logits_from_probabilities
    from minikd.data.soft_targets import soft_targets_from as soft_targets_from
    from minikd.distil.onnx_model import to_onnx as to_onnx
    from minikd.distil.student import Student as Student
    from minikd.distil.student import load_student as load_student
    from minikd.doctor import check_gradient as check_gradient
    from minikd.engines.device import get_device as get_device
    from minikd.theory.ensembles import arithmetic_mean as arithmetic_mean
    from minikd.theory.ensembles import geometric_mean as geometric_mean
    from minikd.theory.limits import sufficient_temperature as sufficient_temperature
    from minikd.theory.priors import matching_shift as matching_shift
    from minikd.theory.priors import shift_classes as shift_classes
    from minikd.training.answers import count_errors as count_errors
    from minikd.training.answers import logits as logits
    from minikd.training.config import TrainConfig as TrainConfig
    from minikd.training.loop import Run as Run
    from minikd.training.loop import train as train
    from minikd.training.network import Network as Network
    from minikd.training.runs import load_network as load_network
    from minikd.training.runs import save_network as save_network
    from minikd.training.teacher import load_teacher as load_teacher
    from minikd.training.teacher import soft_targets as soft_targets
else:  # a type-checker that saw this function would accept every name

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first used (PEP 562)."""
        for module, names in _HOMES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(module), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
