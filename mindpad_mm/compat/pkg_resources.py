"""mmengine needs pkg_resources, which new versions of setuptools do not have."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os.path as osp
import sys
import warnings


def pkg_resources() -> bool:
    """Let configs inherit from ``mmdet::...`` without pkg_resources, which setuptools 82 removed.

    Replaces mmengine's two functions that look up installed packages by functions that use the
    standard library. Not applied if pkg_resources exists.

    Upstream: ``mmengine/utils/package_utils.py`` of mmengine 0.10.7; no issue is known.
    """
    if importlib.util.find_spec('pkg_resources') is not None:
        # The warning comes three times for each config that inherits, and users cannot avoid it.
        warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
        return False
    import mmengine.config  # noqa: F401  (imports the functions by name)
    from mmengine.utils import package_utils

    for function in (is_installed, get_installed_path):
        name = function.__name__
        original = getattr(package_utils, name)
        for module_name, module in list(sys.modules.items()):
            if module_name.split('.')[0] == 'mmengine' and vars(module).get(name) is original:
                setattr(module, name, function)
    return True


def is_installed(package: str) -> bool:
    """Whether there is an installed distribution or an importable module of this name."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def get_installed_path(package: str) -> str:
    """The folder of a package.

    Args:
        package: Name of its module or of its distribution.

    Raises:
        importlib.metadata.PackageNotFoundError: There is neither.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        top_level = importlib.metadata.distribution(package).read_text('top_level.txt') or package
        spec = importlib.util.find_spec(top_level.split()[0])
    if spec is None or spec.origin is None:
        raise importlib.metadata.PackageNotFoundError(package)
    return osp.dirname(spec.origin)
