"""Import torchvision, also where its CUDA wheel meets a torch without CUDA.

The wheel on PyPI is linked against CUDA libraries. Beside a CPU-only torch its compiled operators stay
unloaded, and the import stops at ``operator torchvision::nms does not exist``, because two Python-side
registrations (``nms`` and ``qnms``) are unconditional. Declaring both is enough: transforms, models and
data sets are pure Python. Where the builds match, nothing here does anything.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # a declaration lasts as long as its object lives


def load_torchvision() -> ModuleType:
    """Return the ``torchvision`` module, declaring its two missing operators where that is needed.

    Returns:
        The module ``torchvision`` with ``datasets``, ``transforms`` and ``models`` importable.

    Raises:
        ImportError: if torchvision is not installed.
        RuntimeError: if torchvision fails to import for another reason than the missing operators.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error) or _declared:
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # half-imported: a second import would return the broken module
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _OPERATORS:
        library.define(schema)
    _declared.append(library)
    return importlib.import_module("torchvision")
