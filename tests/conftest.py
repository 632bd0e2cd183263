import os

from hypothesis import HealthCheck, settings

import mindpad_mm  # noqa: F401  makes `import mmdet` work on mmcv-lite, before any test imports it

settings.register_profile(
    'mindpad_mm',
    # A busy machine is no fault of the code.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # New examples are searched for at a desk, where somebody looks at what they find.
    derandomize='CI' in os.environ,
)
settings.load_profile('mindpad_mm')
