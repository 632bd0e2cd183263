"""``padding_cfg`` in a config: read where MMEngine's registry builds a model, or any part of one.

Every model, whether through ``Runner``, ``init_detector`` or ``DetInferencer``, is built by the
``build_func`` of MMEngine's root MODELS registry or of one of its children. Wrapping those is enough:
a child made later inherits the wrapped function.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any, Callable, Iterator

from mmengine.logging import print_log
from mmengine.model import Sequential
from mmengine.registry import MODELS, Registry
from torch import nn

from mindpad_mm.errors import UserError
from mindpad_mm.padding.swap import PaddingCfg, apply_padding_cfg

KEY = 'padding_cfg'

# The parts of a model are built before the whole: what an inner padding_cfg has decided, an outer one
# must leave as it is.
_claimed: weakref.WeakSet[nn.Module] = weakref.WeakSet()


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
        if not isinstance(cfg, dict) or KEY not in cfg:
            return build_func(cfg, *args, **kwargs)
        cfg = cfg.copy()
        value = cfg.pop(KEY)
        # Read before the module is built, so that a misspelt field costs no time.
        padding = None if value is None else _named(cfg, PaddingCfg.parse, value)
        module = build_func(cfg, *args, **kwargs)
        if padding is not None:
            report, claims = _named(cfg, apply_padding_cfg, module, padding, _claimed)
            _claimed.update(claims)
            print_log(f'{KEY} of {type(module).__name__}: {report.summary()}', logger='current')
        return module

    build.reads_padding_cfg = True
    return build


def _named(cfg: dict, function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function``, naming the part of the model in what goes wrong."""
    try:
        return function(*args)
    except UserError as error:
        raise UserError(f'{KEY} of {cfg.get("type")}: {error}') from None
