"""Mutated inputs of users, and what becomes of them: ``make fuzz``. Not installed."""

import mindpad_mm  # noqa: F401  makes `import mmdet` work on mmcv-lite, before a kind imports it
