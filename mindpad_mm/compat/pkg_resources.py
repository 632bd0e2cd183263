"""mmengine needs pkg_resources, which setuptools no longer has."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os.path as osp
import sys
import warnings


def pkg_resources() -> bool:
    """Let configs inherit through ``mmdet::...`` without pkg_resources (gone in setuptools 82).

    mmengine's two functions that look up an installed package are given twins that use the
    standard library. Steps aside where pkg_resources exists.

    Upstream: mmengine 0.10.7 ``mmengine/utils/package_utils.py``.
    """
    if importlib.util.find_spec('pkg_resources') is not None:
        # Three times for each config that inherits, and nothing a user can do about it.
        warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
        return False
    import mmengine.config  # noqa: F401  (binds the functions by name)
    from mmengine.utils import package_utils

    for twin in (is_installed, get_installed_path):
        original = getattr(package_utils, twin.__name__)
        for name, module in list(sys.modules.items()):
            if name.split('.')[0] == 'mmengine' and vars(module).get(twin.__name__) is original:
                setattr(module, twin.__name__, twin)
    return True


def is_installed(package: str) -> bool:
    """Whether a distribution or an importable module has this name."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def get_installed_path(package: str) -> str:
    """Folder of a package, given by the name of its module or of its distribution.

    Raises:
        importlib.metadata.PackageNotFoundError: neither exists.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        top_level = importlib.metadata.distribution(package).read_text('top_level.txt') or package
        spec = importlib.util.find_spec(top_level.split()[0])
    if spec is None or spec.origin is None:
        raise importlib.metadata.PackageNotFoundError(package)
    return osp.dirname(spec.origin)
