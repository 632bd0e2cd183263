import os

import pytest
from hypothesis import HealthCheck, settings

import mindpad_mm  # noqa: F401  makes `import mmdet` work on mmcv-lite, before any test imports it
from mindpad_mm.testing.small import SpotDetector, write_small_ssd
from tests.made_up_scans import make_scan, scan  # noqa: F401  fixtures

settings.register_profile(
    'mindpad_mm',
    # A busy machine is no fault of the code.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # New examples are searched for at a desk, where somebody looks at what they find.
    derandomize='CI' in os.environ,
)
settings.load_profile('mindpad_mm')


def pytest_addoption(parser):
    parser.addoption(
        '--device',
        choices=['cpu', 'cuda'],
        default='cpu',
        help='cuda: tests/test_gpu.py runs on a GPU, not on its stand-in',
    )


@pytest.fixture(scope='session')
def files(tmp_path_factory):
    """A folder with the files of a small detector, see :func:`write_small_ssd`."""
    return write_small_ssd(tmp_path_factory.mktemp('files'))


@pytest.fixture
def spot_detector():
    return SpotDetector()
