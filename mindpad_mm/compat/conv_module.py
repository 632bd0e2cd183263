"""mmcv's ``ConvModule`` pads with zeros where it is asked for circular padding."""

from __future__ import annotations

import functools
import inspect
from typing import Any


def conv_module_circular() -> bool:
    """Note the ``padding_mode`` that a ``ConvModule`` asks for, in its ``asked_padding_mode``.

    ``ConvModule(padding_mode='circular')`` counts on torch's convolution, but does not pass the mode on,
    so the layer pads with zeros. The figures of trained detectors depend on that; so the layer stays as
    it is, and the report of a swap names it. Not applied if the mode is passed on.

    Upstream: open-mmlab/mmcv#3078.
    """
    from mmcv.cnn import ConvModule

    if ConvModule(1, 1, 3, padding=1, padding_mode='circular').conv.padding_mode == 'circular':
        return False
    init = ConvModule.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def noting_init(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        asked = signature.bind(self, *args, **kwargs).arguments.get('padding_mode', 'zeros')
        passed_on = self.with_explicit_padding or getattr(self.conv, 'padding_mode', None) == asked
        if asked != 'zeros' and not passed_on:
            self.asked_padding_mode = asked

    ConvModule.__init__ = noting_init
    return True
