"""A training hook that logs the border-bias index of each layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from torch import nn

from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose.border_bias import border_bias
from mindpad_mm.diagnose.inputs import random_images
from mindpad_mm.diagnose.maps import visit_maps
from mindpad_mm.diagnose.subject import Subject, pipeline_size


@HOOKS.register_module()
class DiagnoseHook(Hook):
    """Logs the border-bias index of each layer during training, and its mean over layers.

    Every ``interval``, the network runs on a few fixed random images in evaluation mode. Scalars
    ``border_bias/<layer>`` (root mean square over the four sides, in interior standard deviations)
    go through the runner's visualizer to its backends; their mean, ``border_bias``, is logged like a
    loss. Training is not affected: the modes of the modules, the statistics of normalisation layers
    and the random state are restored.

    Args:
        interval: Iterations (or epochs) between two measurements; default 500.
        by_epoch: Count epochs instead of iterations; default False.
        layers: fnmatch patterns for qualified layer names; default all layers.
        input_size: (height, width), pixels. Default: the scale of the test pipeline.
        images: Number of random images; more are slower and reduce noise. Default 4.
        seed: Seed of the random images.

    Raises:
        UserError: An interval or number of images below 1; no input size is known (when training
            starts); no layer matches (at the first measurement).

    Example:
        >>> custom_hooks = [dict(type='DiagnoseHook', interval=500, layers=['backbone.*'])]
    """

    def __init__(
        self,
        interval: int = 500,
        by_epoch: bool = False,
        layers: Sequence[str] = ('*',),
        input_size: Sequence[int] | None = None,
        images: int = 4,
        seed: int = 0,
    ) -> None:
        for name, value in (('interval', interval), ('images', images)):
            if value < 1:
                raise UserError(f'DiagnoseHook: {name} is {value}, it must be at least 1')
        self.interval = interval
        self.by_epoch = by_epoch
        self.layers = (layers,) if isinstance(layers, str) else tuple(layers)
        self.input_size = None if input_size is None else tuple(input_size)
        self.images = images
        self.seed = seed

    def before_train(self, runner: Any) -> None:
        """Make the random images once."""
        if self.input_size is None:
            if not runner.cfg.get('test_dataloader'):
                raise UserError(
                    'DiagnoseHook: the config has no test pipeline to read the input size from; '
                    'set `input_size`, e.g. input_size=(300, 300)'
                )
            self.input_size = pipeline_size(runner.cfg)
        self.inputs = random_images(self.input_size, self.images, self.seed)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Measure after every ``interval``-th iteration."""
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self.log(runner)

    def after_train_epoch(self, runner: Any) -> None:
        """Measure after every ``interval``-th epoch."""
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self.log(runner)

    @master_only
    def log(self, runner: Any) -> None:
        """Measure now, and log the result at the current iteration."""
        indices = self.measure(runner.model)
        if not indices:
            return
        scalars = {f'border_bias/{name}': index for name, index in indices.items()}
        runner.visualizer.add_scalars(scalars, step=runner.iter + 1)
        # The logger hook writes values of the message hub to the text log and the backends, like losses.
        runner.message_hub.update_scalar(
            'train/border_bias', float(np.mean(list(indices.values())))
        )

    def measure(self, model: nn.Module) -> dict[str, float]:
        """The index by layer, over all four sides; layers without an interior are left out."""
        if is_model_wrapper(model):
            model = model.module
        subject = Subject(model, self.input_size, type(model).__name__)
        with _undisturbed(model):
            sides = visit_maps(
                subject,
                subject.preprocess(self.inputs),
                lambda _, maps: border_bias(maps),
                self.layers,
            )
        return {
            name: float(np.sqrt(np.mean(np.square(list(bias.values())))))
            for name, bias in sides.items()
            if None not in bias.values()
        }


@contextlib.contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; then restore each module's mode and the random state."""
    # Frozen stages are in evaluation mode while the rest trains: model.train() would not restore it.
    modes = [(module, module.training) for module in model.modules()]
    devices = range(torch.cuda.device_count())
    try:
        with torch.random.fork_rng(devices=devices):
            for module, _ in modes:
                module.training = False
            yield
    finally:
        for module, training in modes:
            module.training = training
