"""mmengine never runs the custom_imports of pure-Python configs."""

from __future__ import annotations

import functools
from typing import Any


def custom_imports() -> bool:
    """Run ``custom_imports`` of configs that inherit by ``read_base``, as of all others.

    Without it, a module of the user's that registers a layer or a hook is not there when the config is
    built.

    Upstream: ``Config.fromfile`` of mmengine 0.10.7 (open-mmlab/mmengine#1071 brought these configs); no
    issue is known.
    """
    from mmengine.config import Config
    from mmengine.utils import import_modules_from_strings

    stock = Config.fromfile

    @functools.wraps(stock)
    def fromfile(filename: Any, *args: Any, **kwargs: Any) -> Config:
        cfg = stock(filename, *args, **kwargs)
        wanted = kwargs.get('import_custom_modules', args[1] if len(args) > 1 else True)
        imports = cfg.get('custom_imports')
        # Only of pure-Python configs, mmengine keeps the names that they import.
        if wanted and imports and getattr(cfg, '_imported_names', None):
            import_modules_from_strings(**imports)
        return cfg

    Config.fromfile = staticmethod(fromfile)
    return True
