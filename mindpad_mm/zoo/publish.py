"""Reduce a training checkpoint to what is distributed."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader

_META = ('dataset_meta', 'epoch', 'iter', 'seed', 'mmengine_version')


def publish(checkpoint: str | Path, out: str | Path, half: bool = False) -> None:
    """Keep a checkpoint's weights and classes; drop the optimizer, and the config with its paths.

    Args:
        checkpoint: Checkpoint of an MMEngine Runner.
        out: File to write.
        half: Store convolution kernels in half precision. Loading converts them to the model's
            precision.

    Raises:
        UserError: ``checkpoint`` cannot be read.
    """
    loaded = CheckpointLoader.load_checkpoint(str(checkpoint), 'cpu')
    meta = {key: loaded['meta'][key] for key in _META if key in loaded['meta']}
    weights = loaded['state_dict']
    if half:
        weights = {name: w.half() if w.dim() == 4 else w for name, w in weights.items()}
    torch.save({'meta': meta, 'state_dict': weights}, out)
