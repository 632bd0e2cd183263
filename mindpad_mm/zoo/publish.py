"""Reduce a training checkpoint to what is distributed."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import written_whole

_META = ('dataset_meta', 'epoch', 'iter', 'seed', 'mmengine_version')


def publish(checkpoint: str | Path, out: str | Path, half: bool = False) -> None:
    """Keep a checkpoint's weights and classes; drop the optimizer, and the config with its paths.

    Args:
        checkpoint: Checkpoint of an MMEngine Runner.
        out: File to write.
        half: Store convolution kernels in half precision. Loading converts them to the model's
            precision.

    Raises:
        UserError: ``checkpoint`` cannot be read or is none of a training, or ``out`` cannot be written.
    """
    loaded = CheckpointLoader.load_checkpoint(str(checkpoint), 'cpu')
    stored, weights = loaded.get('meta'), loaded.get('state_dict')
    if not isinstance(stored, dict) or not isinstance(weights, dict):
        raise UserError(
            f'`checkpoint` {checkpoint} is none of a training: it has no meta or weights'
        )
    meta = {key: stored[key] for key in _META if key in stored}
    if half:
        weights = {name: w.half() if w.dim() == 4 else w for name, w in weights.items()}
    with written_whole(Path(out)) as file:
        torch.save({'meta': meta, 'state_dict': weights}, file)
