import mindpad_mm  # noqa: F401  makes `import mmdet` work on mmcv-lite, before any test imports it
