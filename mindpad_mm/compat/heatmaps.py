"""MMDetection's heatmap detectors fail on channels_last maps."""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

import torch
from torch import Tensor


def heatmap_memory_format() -> bool:
    """Let CenterNet and CornerNet of mmdet 3.3.0 predict from channels_last maps.

    ``get_topk_from_heatmap`` calls ``view`` on a map, which fails unless the map is contiguous. Not
    applied if a call on a channels_last map works.

    Upstream: ``models/utils/gaussian_target.py`` of mmdet; no issue is known.
    """
    importlib.import_module('mmdet.models.dense_heads')
    from mmdet.models.utils.gaussian_target import get_topk_from_heatmap as stock

    try:
        stock(torch.zeros(1, 2, 2, 2).to(memory_format=torch.channels_last), 1)
    except RuntimeError:  # view size is not compatible with input tensor's size and stride
        pass
    else:
        return False

    @functools.wraps(stock)
    def get_topk_from_heatmap(scores: Tensor, k: int = 20) -> Any:
        return stock(scores.contiguous(), k)

    # The modules that use the function import it by name.
    for name, module in list(sys.modules.items()):
        if name.startswith('mmdet.') and getattr(module, stock.__name__, None) is stock:
            setattr(module, stock.__name__, get_topk_from_heatmap)
    return True
