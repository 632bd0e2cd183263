"""From a detector and photos to the same detector with learned padding, measured on held-out photos."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from mindpad_mm.adapt.learn import learn, learned_values, with_learned_padding
from mindpad_mm.adapt.windows import Windows
from mindpad_mm.border import BorderResult, border_loss
from mindpad_mm.border.objects import objects_to_paste
from mindpad_mm.border.photos import Photos, listed
from mindpad_mm.border.verdict import LearnedChange, learned_change, with_interval
from mindpad_mm.core.detector import DetectorFiles, weights_sha256
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import read_json, save_json, save_text, written_whole
from mindpad_mm.core.journal import Journal, alone_in, check_fingerprint, discard, prepare_folder
from mindpad_mm.core.loading import load_config, load_detector
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.settings import chosen_settings
from mindpad_mm.diagnose import Subject
from mindpad_mm.diagnose.subject import pipeline_size
from mindpad_mm.padding import PaddingCfg, get_modes
from mindpad_mm.padding.modes import describe
from mindpad_mm.settings.adapt import AdaptSettings

LEARNED = 'learned'
"""The name of the adapted detector in the measurement."""
_RESULT, _CONFIG, _CHECKPOINT, _MEASURED = 'adapt.json', 'adapted.py', 'adapted.pth', 'border'
# A quarter of the photos is held out.
_PARTS, _LEAST_PHOTOS = 4, 8


@dataclass
class AdaptResult:
    """A detector with learned padding.

    Attributes:
        config, checkpoint: Its files, which any tool of MMDetection reads.
        padding_cfg: What the config adds to that of the detector as trained.
        numbers: How many values were learned.
        losses: (steps,) distance to the teacher's outputs at each step.
        seconds: Spent on learning; of a resumed run, since it was resumed.
        border: The border loss of both on held-out photos.
        change: What learned padding changes near borders and elsewhere.
    """

    config: Path
    checkpoint: Path
    padding_cfg: dict[str, Any]
    numbers: int
    losses: np.ndarray
    seconds: float
    border: BorderResult
    change: LearnedChange

    @property
    def verdict(self) -> list[str]:
        """Sentences: what was won, and whether to use it."""
        gain, price = self.change.gain, self.change.price
        near = self.border.info.settings['near']
        won = f'{with_interval(gain)} within {near} px of the border'
        files = f'use {self.config} with {self.checkpoint}'
        if gain['interval'] is None:
            return ['Nothing is decided: the held-out photos are too few. Give more photos.']
        if price is not None:
            where, harm = price
            return [
                f'Learned padding changes the score by {won} and by {with_interval(harm)} {where}: '
                f'leave the detector as it is.'
            ]
        if self.change.wins:
            return [f'Learned padding wins back {won}, and costs nothing elsewhere: {files}.']
        return [f'Learned padding wins nothing that shows ({won}): leave the detector as it is.']

    def to_json(self) -> dict[str, Any]:
        """What ``adapt.json`` holds."""
        return {
            'verdict': self.verdict,
            'padding_cfg': self.padding_cfg,
            'numbers': self.numbers,
            'seconds': round(self.seconds, 1),
            'gain': self.change.gain,
            'open_change': self.change.open,
            'losses': [round(float(loss), 6) for loss in self.losses],
        }

    @classmethod
    def load(cls, folder: PathLike) -> AdaptResult:
        """Read the result of finished work.

        Raises:
            UserError: A file is missing or damaged.
        """
        folder = Path(folder)
        kept = read_json(folder / _RESULT)
        border = BorderResult.load(folder / _MEASURED)
        return cls(
            folder / _CONFIG,
            folder / _CHECKPOINT,
            kept['padding_cfg'],
            kept['numbers'],
            np.array(kept['losses'], np.float32),
            kept['seconds'],
            border,
            learned_change(border.statistics, border.info.variants, LEARNED),
        )


def adapt(
    detector: nn.Module | DetectorFiles | tuple[PathLike, PathLike],
    photos: Photos,
    out: PathLike,
    *,
    object: Photos = (),
    resume: bool = False,
    settings: AdaptSettings | None = None,
    **options: Any,
) -> AdaptResult:
    """Let a detector's padding learn from its own outputs on larger photos, without labels.

    A detector sees a window of a photo and, as its own teacher, the same window with its surroundings.
    The padding of its convolutions learns to make both outputs equal. Weights stay as they are, and so
    do all outputs that read no padding. A quarter of the photos is held out, and the border loss of both
    detectors is measured on it.

    Args:
        detector: A built one-stage detector (``mmdet.apis.init_detector``), or the files of one.
        photos: Files, folders, or (H, W, 3) uint8 BGR arrays.
        out: Folder to write ``adapted.py``, ``adapted.pth``, ``adapt.json`` and ``border/`` to.
        object: Images of objects to paste, as in :func:`mindpad_mm.border.border_loss`. Default: none are
            pasted, and those that the detector finds are measured.
        resume: Go on with the work in ``out``.
        settings: All settings at once; instead of ``options``.
        options: Fields of :class:`AdaptSettings`.

    Raises:
        UserError: Anything in the input that its user can mend.
    """
    settings = chosen_settings(AdaptSettings, settings, options)
    sources = listed(photos)
    if len(sources) < _LEAST_PHOTOS:
        raise UserError(
            f'`photos`: {len(sources)} are too few: give {_LEAST_PHOTOS} or more, since a quarter is '
            f'held out to measure on'
        )
    model, cfg = _opened(detector)
    objects = objects_to_paste(object)
    order = np.random.default_rng([settings.seed, 1]).permutation(len(sources))
    held_out = [sources[i] for i in sorted(order[::_PARTS])]
    learned_from = [sources[i] for i in sorted(set(order) - set(order[::_PARTS]))]
    folder = prepare_folder(out, resume, _RESULT)
    with alone_in(folder):
        fingerprint = _fingerprint(model, cfg, learned_from, objects, settings)
        if resume and (folder / _RESULT).is_file():
            check_fingerprint(read_json(folder / _RESULT)['fingerprint'], fingerprint, folder)
            return AdaptResult.load(folder)
        student, padding_cfg = with_learned_padding(model)
        adapted = _adapted_config(cfg, padding_cfg)
        journal = Journal(folder, fingerprint)
        subject = Subject(model, pipeline_size(cfg))
        windows = Windows(
            learned_from,
            objects,
            subject.input_size,
            settings.surroundings,
            settings.near,
            settings.sizes,
            settings.seed,
        )
        start = time.perf_counter()
        losses = learn(subject, student, windows, settings, journal)
        seconds = time.perf_counter() - start
        config, checkpoint = folder / _CONFIG, folder / _CHECKPOINT
        save_text(config, adapted.pretty_text)
        meta = {'dataset_meta': dict(student.dataset_meta)}
        with written_whole(checkpoint) as temporary:
            torch.save({'meta': meta, 'state_dict': student.state_dict()}, temporary)
        print_log(
            f'learned in {seconds:.0f} s; measuring on {len(held_out)} held-out photos', 'current'
        )
        measured = folder / _MEASURED
        border = border_loss(
            model,
            held_out,
            object=object,
            checkpoints={LEARNED: student},
            out=measured,
            resume=measured.is_dir() and any(measured.iterdir()),
            sizes=settings.sizes,
            label=settings.label,
            minutes=settings.minutes,
            seed=settings.seed,
        )
        assert border is not None  # there is one process
        change = learned_change(border.statistics, border.info.variants, LEARNED)
        numbers = sum(value.numel() for value in learned_values(student))
        result = AdaptResult(
            config, checkpoint, padding_cfg, numbers, losses, seconds, border, change
        )
        save_json(folder / _RESULT, {**result.to_json(), 'fingerprint': fingerprint})
        discard(folder)
        return result


def _opened(
    detector: nn.Module | DetectorFiles | tuple[PathLike, PathLike],
) -> tuple[nn.Module, Config]:
    if isinstance(detector, tuple):
        detector = DetectorFiles(*detector)
    if isinstance(detector, DetectorFiles):
        if detector.checkpoint is None:
            raise UserError('random weights know nothing to learn from: give a checkpoint')
        cfg = load_config(str(detector.config), dict(detector.cfg_options or {}))
        return load_detector(cfg, str(detector.checkpoint), detector.device), cfg
    if not isinstance(getattr(detector, 'cfg', None), Config):
        raise UserError(
            f'`detector` is a {type(detector).__name__}: give a model that mmdet.apis.init_detector '
            f'built, or a pair (config, checkpoint)'
        )
    return detector, copy.deepcopy(detector.cfg)


def _adapted_config(cfg: Config, padding_cfg: dict[str, Any]) -> Config:
    """The detector's config with learned padding, complete in itself."""
    own_cfg = cfg.model.get('padding_cfg')
    if own_cfg is not None and describe(get_modes(PaddingCfg.parse(own_cfg).mode)) != 'zeros':
        raise UserError(
            'the config swaps the padding of the whole model: adapt the detector without that swap'
        )
    changed = copy.deepcopy(cfg)
    own = dict(changed.get('custom_imports') or {})
    imports = own.get('imports', [])
    imports = [imports] if isinstance(imports, str) else list(imports)
    if 'mindpad_mm' not in imports:
        imports = ['mindpad_mm', *imports]
    changed.custom_imports = {'allow_failed_imports': False, **own, 'imports': imports}
    changed.model.padding_cfg = padding_cfg
    return changed


def _fingerprint(
    model: nn.Module,
    cfg: Config,
    photos: Sequence[Path | np.ndarray],
    objects: Sequence[ScanObject],
    settings: AdaptSettings,
) -> dict[str, Any]:
    """All that is learned depends on, as JSON types."""
    digest = hashlib.sha256()
    for each in photos:
        digest.update(each.tobytes() if isinstance(each, np.ndarray) else each.read_bytes())
    for each in objects:
        digest.update(each.pixels.tobytes())
    values = dataclasses.asdict(settings)
    del values['minutes']
    return json.loads(
        json.dumps(
            {
                'config': hashlib.sha256(repr(sorted(cfg.to_dict().items())).encode()).hexdigest(),
                'checkpoint': weights_sha256(model),
                'photos and objects': digest.hexdigest(),
                'settings': values,
            }
        )
    )
