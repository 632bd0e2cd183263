"""Run MMDetection's own scripts, and report a user's mistakes in one line."""

from __future__ import annotations

import os.path as osp
import runpy

from mindpad_mm import load
from mindpad_mm.core.errors import UserError

# Parameters in messages of the library -> arguments of MMDetection's scripts.
PARAMETERS = {
    'config': 'config',
    'checkpoint': 'checkpoint',
    'cfg_options': '--cfg-options',
    'resume': '--resume',
    'work_dir': '--work-dir',
}


def run_mmdet_script(name: str, example: str) -> None:
    """Run ``train`` or ``test`` of the installed MMDetection on this process's arguments.

    The checkpoint to test, or to resume from, is first checked to fit the config's detector:
    MMDetection itself only logs a mismatch and continues with the weights that fit.

    Args:
        name: ``'train'`` or ``'test'``.
        example: A command, shown after the script's own ``--help``.

    Raises:
        UserError: The installed MMDetection has no scripts; the config, checkpoint or data cannot be
            read; the checkpoint does not fit the detector; or the test would give classes to
            categories of another name.
    """
    load()
    import mmdet

    from mindpad_mm.core.loading import check_model, load_config, users_faults
    from mindpad_mm.evaluation.ground_truth import check_pairing

    path = osp.join(osp.dirname(mmdet.__file__), '.mim', 'tools', f'{name}.py')
    if not osp.isfile(path):
        raise UserError(f'MMDetection {mmdet.__version__} lacks {path}: install it from PyPI')
    script = runpy.run_path(path, run_name=f'mmdet_{name}')
    try:
        args = script['parse_args']()
    except SystemExit as end:
        if not end.code:
            print(f'\nexample:\n  {example}')
        raise
    except ValueError as error:
        raise UserError(f'--cfg-options takes KEY=VALUE pairs ({error})') from error
    if getattr(args, 'out', None) and not args.out.endswith(('.pkl', '.pickle')):
        raise UserError(f'--out {args.out}: predictions are written to a .pkl file')
    with users_faults():
        cfg = load_config(args.config, args.cfg_options)
        for key in ('model', f'{name}_dataloader', f'{name}_cfg'):
            if cfg.get(key) is None:
                raise UserError(f'config {args.config} has no {key}: is it complete?')
        if name == 'test':
            check_pairing(cfg)
        checkpoint = args.checkpoint if name == 'test' else args.resume
        check_model(cfg, None if checkpoint == 'auto' else checkpoint)
        script['main']()
