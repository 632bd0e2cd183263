from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION: dict = {}
exec((ROOT / 'mindpad_mm' / 'version.py').read_text(), VERSION)
STUDY_MODES = ('zeros', 'reflect', 'symmetric', 'replicate', 'circular', 'partial')

setup(
    name='mindpad-mm',
    version=VERSION['__version__'],
    description='Padding modes for MMDetection, and maps of where a detector goes blind',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The authors of mindpad_mm',
    keywords=['object detection', 'padding', 'blind spots', 'CNN', 'MMDetection', 'robustness'],
    license='Apache-2.0',
    project_urls={
        'Paper': 'https://arxiv.org/abs/2010.02178',
        'MMDetection': 'https://github.com/open-mmlab/mmdetection',
    },
    python_requires='>=3.10',
    packages=find_packages(include=['mindpad_mm', 'mindpad_mm.*']),
    py_modules=['mindpad'],
    package_data={
        'mindpad_mm': [
            'zoo/MODEL_CARD.md',
            'zoo/*.pth',
            'report/templates/*',
            # Links to configs/ and tools/, where MIM expects them.
            '.mim/configs/**/*.py',
            '.mim/tools/*.py',
            '.mim/model-index.yml',
            'py.typed',
            'incremental/README.md',
        ]
    },
    # 10 MB that only the studies use.
    exclude_package_data={
        'mindpad_mm': [f'zoo/ssd128_{mode}_traffic-light.pth' for mode in STUDY_MODES]
    },
    entry_points={'console_scripts': ['mindpad = mindpad:main']},
    install_requires=[
        'torch>=2.1',
        'torchvision',
        'mmengine>=0.10.3',
        'mmdet>=3.3.0,<4',
        'pycocotools',
        'opencv-python',
        'pillow>=10.1',
        'numpy',
        'scipy',
        'matplotlib',
        'jinja2',
        'rich',
        'typing_extensions',
    ],
    extras_require={
        # mmcv and mmcv-lite overwrite each other's files, so the user chooses one.
        'lite': ['mmcv-lite>=2.0.0rc4,<2.2.0'],
        'full': ['mmcv>=2.0.0rc4,<2.2.0'],
        'dev': [
            'pytest',
            'pytest-xdist',
            'hypothesis',
            'ruff',
            'mypy',
            'onnx',
            'onnxscript',
            'onnxruntime',
            # Scans as tables: ScanResult.to_dataframe.
            'pandas',
            # Tests of the report's page drive a headless Chromium with it, if one is installed.
            'websocket-client',
            # Tests execute examples/first_look.ipynb.
            'ipykernel',
            'nbclient',
            'nbformat',
        ],
        # The documentation site: make docs.
        'docs': ['mkdocs-material', 'mkdocstrings[python]'],
    },
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'License :: OSI Approved :: Apache Software License',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in (10, 11, 12, 13)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
