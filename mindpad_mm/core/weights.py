"""Weights, settings and outputs that cannot be right: a detector with them runs, but means nothing."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mindpad_mm.core.errors import UserError

# Half precision ends at 65504. No trained weight comes near: one that does has overflown, or will.
_HALF_END = 2.0**15
# Far beyond any trained parameter, and any mean or variance of activations.
_LARGEST, _LARGEST_STATISTIC = 1e8, 1e15


class NotFinite(UserError):
    """NaN or infinite values came out of a detector."""


def unusual_buffers(model: nn.Module) -> frozenset[str]:
    """Names of the buffers of a new model that hold NaN or infinite values, such as attention masks."""
    return frozenset(
        name
        for name, value in model.named_buffers()
        if not _finite(value) and not name.endswith(('running_mean', 'running_var'))
    )


def check_weights(
    model: nn.Module, name: str, stored: Mapping[str, Any] | None = None, unusual: Any = ()
) -> None:
    """Check that a detector's weights can be those of a trained one.

    Args:
        model: The detector, with its weights.
        name: Name of the checkpoint or the detector in error messages.
        stored: The weights as the checkpoint has them. Default: the model's own.
        unusual: Names of buffers that may be infinite, see :func:`unusual_buffers`.

    Raises:
        UserError: A parameter or buffer is NaN or infinite, a variance is below 0, a parameter is above
            1e8, a running mean or variance above 1e15, one in half precision at the end of its range,
            or the checkpoint stores whole numbers for a weight.
    """
    stored = model.state_dict() if stored is None else stored
    parameters = dict(model.named_parameters())
    found: dict[str, list[str]] = {}
    for key, value in model.state_dict().items():
        kind = _fault(key, value, stored.get(key), key in parameters)
        if kind and not (kind in ('NaN', 'infinite') and key in unusual):
            found.setdefault(kind, []).append(key)
    nans = found.pop('NaN', None)
    if nans:
        raise UserError(
            f'{name} is from a training that diverged; {some("NaN", nans)}: use an earlier one'
        )
    if found:
        problem = '; '.join(some(*each) for each in found.items())
        raise UserError(
            f'{name} holds weights that cannot be right; {problem}: use another copy of the file, or '
            f'an earlier checkpoint'
        )


def _fault(key: str, value: Tensor, stored: Any, is_parameter: bool) -> str | None:
    """What cannot be right in a weight; None if nothing is found."""
    if not value.is_floating_point():
        return None
    if isinstance(stored, Tensor) and not stored.is_floating_point():
        return f'stored as {str(stored.dtype).removeprefix("torch.")}'
    if value.isnan().any():
        return 'NaN'
    if not _finite(value):
        return 'infinite'
    if key.endswith('running_var') and (value < 0).any():
        return 'a variance below 0'
    largest = _LARGEST if is_parameter else math.inf
    if key.endswith(('running_mean', 'running_var')):
        largest = _LARGEST_STATISTIC
    if value.numel() and value.abs().max() > largest:
        return f'above {largest:g}'
    kept = stored if isinstance(stored, Tensor) else value
    # A variance can be so large: that of the first layer's outputs for pixels in 0..255.
    bounded = is_parameter or key.endswith('running_mean')
    if bounded and kept.dtype == torch.float16 and (kept.float().abs() >= _HALF_END).any():
        return 'at the end of half precision'
    return None


def check_preprocessor(model: nn.Module) -> None:
    """Check the mean and standard deviation by which a detector normalises its input.

    Raises:
        UserError: A mean is not finite, or a standard deviation is not above 0 and finite.
    """
    for name, module in model.named_modules():
        for key in ('mean', 'std'):
            values = getattr(module, key, None)
            if not name.endswith('preprocessor') or not isinstance(values, Tensor):
                continue
            listed = values.flatten().tolist()
            if not _finite(values) or (key == 'std' and min(listed) <= 0):
                wanted = 'above 0' if key == 'std' else 'finite'
                raise UserError(
                    f'the config has model.{name}.{key} = {listed}: each value must be {wanted}'
                )


def check_numbers(node: Any, key: str) -> None:
    """Check that no number in nested dicts, lists and tuples of a config is NaN.

    A comparison with NaN is always false: a threshold that is NaN removes every detection.

    Args:
        node: The part of the config.
        key: Its dotted key, for the error message.

    Raises:
        UserError: A number is NaN.
    """
    if isinstance(node, float) and math.isnan(node):
        raise UserError(f'the config has {key} = nan: it must be a number')
    if isinstance(node, (dict, list, tuple)):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            check_numbers(value, f'{key}.{name}')


@contextlib.contextmanager
def finite_outputs(model: nn.Module) -> Iterator[None]:
    """Check the outputs of a detector's layers while the context lasts.

    Meant for the first images: every layer with weights is watched, which takes time.

    Args:
        model: The detector.

    Raises:
        NotFinite: A layer's output is NaN or infinite; it names the first such layer.
    """

    def check(layer: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if _all_finite(output):
                return
            if not _all_finite(inputs):
                raise NotFinite(
                    f'the input of layer {layer} is not finite: check model.data_preprocessor in the '
                    f'config, and what comes before the layer'
                )
            raise NotFinite(
                f'the output of layer {layer} is not finite: its weights cannot be right for this '
                f'input and precision'
            )

        return hook

    handles = [
        module.register_forward_hook(check(name))
        for name, module in model.named_modules()
        if not any(True for _ in module.children()) and any(True for _ in module.parameters())
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_detections(detections: InstanceData) -> None:
    """Check the detections in an image.

    Args:
        detections: ``bboxes`` (M, 4) and ``scores`` (M,).

    Raises:
        UserError: A box or score is NaN or infinite.
    """
    boxes, scores = detections.bboxes, detections.scores
    boxes = getattr(boxes, 'tensor', boxes)
    if not (_finite(boxes) and _finite(scores)):
        raise UserError(
            'the detector gives boxes or scores that are not finite: its weights or the settings of '
            'its head cannot be right'
        )


def some(what: str, keys: list[str], shown: int = 3) -> str:
    """The first of several names, and how many there are."""
    more = f', ... ({len(keys)} in all)' if len(keys) > shown else ''
    return f'{what}: {", ".join(keys[:shown])}{more}'


def _all_finite(node: Any) -> bool:
    if isinstance(node, Tensor):
        return _finite(node)
    if isinstance(node, (list, tuple)):
        return all(map(_all_finite, node))
    return True


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())
