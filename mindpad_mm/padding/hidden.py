"""Find the lines of code that pad outside of any layer, by running a module once.

Every operation of the run is seen, however it was called: ``F.pad`` in a ``forward``, a functional
convolution with ``padding``, a hook, a concatenation with a border, a copy into a slice of a larger map,
code of a library.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mindpad_mm.core.errors import UserError
from mindpad_mm.padding.found import PaddingLayer, padding_layers
from mindpad_mm.padding.operations import pads
from mindpad_mm.padding.report import SkippedLayer

_CALLS_LAYERS = nn.modules.module.__file__
_OF_LAYERS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


def running(module: nn.Module, example_input: Any) -> Callable[[], Any]:
    """A call of a module on an example.

    Args:
        module: The module.
        example_input: A tensor, a sequence of arguments, or a dict of keyword arguments.
    """
    if isinstance(example_input, Mapping):
        return lambda: module(**example_input)
    if isinstance(example_input, Sequence):
        return lambda: module(*example_input)
    return lambda: module(example_input)


def hidden_padding(module: nn.Module, run: Callable[[], Any]) -> list[SkippedLayer]:
    """The lines of code in a module that pad outside of any layer that a swap knows.

    Args:
        module: Any module. It runs in evaluation mode, and its training flags are restored.
        run: Runs the module once, e.g. ``lambda: module(image)``.

    Returns:
        Each line once, with the module whose code it is.

    Raises:
        UserError: The run fails.
    """
    watch = _Watch(module)
    training = [each for each in module.modules() if each.training]
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), watch.watching():
            run()
    except UserError:
        raise
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise UserError(
            f'`example_input` does not run through {type(module).__name__}: {reason[:200]}'
        ) from error
    finally:
        for each in training:
            each.training = True
    return [*watch.found.values()]


class _Watch:
    """Notes the operations that pad while a module runs.

    Attributes:
        found: What pads, by module and line.
    """

    def __init__(self, module: nn.Module) -> None:
        self._names = {each: name for name, each in module.named_modules()}
        self._layers: dict[nn.Module, PaddingLayer] = {}
        for layer in padding_layers(module):
            self._layers[layer.module] = layer
            if layer.explicit is not None:
                self._layers[layer.explicit.padding_layer] = layer
        self.found: dict[tuple[str, str], SkippedLayer] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Note operations while the context is active."""
        with _Calls(self), _Operations(self):
            yield

    def note(self, name: str, arguments: Mapping[str, Any], frame: FrameType | None) -> None:
        """Note an operation that was called in ``frame`` or deeper, if it pads."""
        if not pads(name, arguments):
            return
        line: FrameType | None = None
        while frame is not None:
            if line is None and not frame.f_code.co_filename.startswith(_OF_LAYERS):
                line = frame
            owner = frame.f_locals.get('self')
            if isinstance(owner, nn.Module) and owner in self._names:
                self._add(owner, frame, line or frame, name)
                return
            frame = frame.f_back

    def _add(self, owner: nn.Module, frame: FrameType, line: FrameType, name: str) -> None:
        layer = self._layers.get(owner)
        if layer is not None and _is_told(layer, frame):
            return
        where = f'{line.f_code.co_filename}:{line.f_lineno}'
        reason = f'its code pads, by {name.split("::")[-1]} at {where}'
        kind = type(owner).__name__
        # The first is the call in the code; circular F.pad copies slices in its turn.
        self.found.setdefault(
            (self._names[owner], where), SkippedLayer(self._names[owner], kind, reason)
        )


def _is_told(layer: PaddingLayer, frame: FrameType) -> bool:
    """Whether a swap's report tells of padding in this frame of a layer.

    It does not where torch called something else for the layer than its forward, such as a hook.
    """
    return layer.padded is None or frame.f_code.co_filename != _CALLS_LAYERS


class _Operations(TorchDispatchMode):
    """Sees the operations that run, those of scripted modules included."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        names = [argument.name for argument in func._schema.arguments]
        arguments = {**dict(zip(names, args)), **(kwargs or {})}
        self._watch.note(func._schema.name, arguments, sys._getframe(1))
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    """Sees circular ``F.pad``, which runs as copies of slices."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (F.pad, torch._C._nn.pad):
            arguments = {**dict(zip(('input', 'pad', 'mode'), args)), **kwargs}
            if arguments.get('mode') == 'circular':
                self._watch.note('pad', arguments, sys._getframe(1))
        return func(*args, **kwargs)
