from hypothesis import HealthCheck, settings

import mindpad_mm  # noqa: F401  makes `import mmdet` work on mmcv-lite, before any test imports it

# A busy machine is no fault of the code.
settings.register_profile('busy', deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('busy')
