"""``padding_cfg`` in a config: read where MMEngine's registry builds a model, or any part of one.

Every model, whether through ``Runner``, ``init_detector`` or ``DetInferencer``, is built by the
``build_func`` of MMEngine's root MODELS registry or of one of its children. Wrapping those is enough:
a child made later inherits the wrapped function. Only what mmcv builds around them (``conv_cfg``,
``norm_cfg``) is out of reach, and refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.model import Sequential
from mmengine.registry import MODELS, Registry

from mindpad_mm.core.errors import UserError
from mindpad_mm.padding.swap import PaddingCfg, apply_padding_cfg

KEY = 'padding_cfg'


def install() -> None:
    """Make MODELS, and every registry below it, read ``padding_cfg``. Doing it twice does nothing."""
    for registry in _family(MODELS):
        if not hasattr(registry.build_func, 'reads_padding_cfg'):
            registry.build_func = _reading_padding_cfg(registry.build_func)


def _family(registry: Registry) -> Iterator[Registry]:
    yield registry
    for child in registry.children.values():
        yield from _family(child)


def _reading_padding_cfg(build_func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(build_func)
    def build(cfg: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(cfg, list):
            return Sequential(*(build(part, *args, **kwargs) for part in cfg))
        value = None
        if isinstance(cfg, dict) and KEY in cfg:
            cfg = cfg.copy()
            value = cfg.pop(KEY)
        # Read before the module is built, so that a misspelt field costs no time.
        padding = None if value is None else _named(cfg, PaddingCfg.parse, value)
        try:
            module = build_func(cfg, *args, **kwargs)
        except TypeError as error:
            if f"unexpected keyword argument '{KEY}'" not in str(error):
                raise
            raise UserError(
                f'{KEY} stands in a dict that {cfg.get("type")} does not build through MODELS '
                f'(conv_cfg, for one): let it stand in the dict of {cfg.get("type")} itself'
            ) from error
        if padding is not None:
            # Parts are built before the whole: what an inner padding_cfg decided, an outer one leaves.
            report = _named(cfg, apply_padding_cfg, module, padding, claim=True)
            print_log(f'{KEY} of {type(module).__name__}: {report.summary()}', logger='current')
        return module

    build.reads_padding_cfg = True
    return build


def _named(cfg: dict, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function``, naming the part of the model in what goes wrong."""
    try:
        return function(*args, **kwargs)
    except UserError as error:
        raise UserError(f'{KEY} of {cfg.get("type")}: {error}') from None
