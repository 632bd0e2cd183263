"""Effects of the padding mode and of uneven padding on a classifier of letters.

Repeats the experiments of a reproducibility report of "Mind the Pad" on a small sequential classifier.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from mindpad_mm.core.detector import versions
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_json, written_whole
from studies.letters_data import Letters, LetterSet
from studies.letters_model import LetterSetting, enlarged, evaluate, shifted, train

MODES = ('zeros', 'reflect', 'replicate', 'circular')
SIZES = (28, 29)
SHIFTS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


def settings(seeds: Sequence[int] = (0, 1, 2)) -> list[LetterSetting]:
    """All models, seed by seed: each mode, without and with batch norm, at both sizes."""
    return [
        LetterSetting(mode, batch_norm, size, seed)
        for seed in seeds
        for mode in MODES
        for batch_norm in (False, True)
        for size in SIZES
    ]


def run_letters(
    letters: LetterSet, folder: Path, seeds: Sequence[int] = (0, 1, 2), jobs: int = 1
) -> dict[str, Any]:
    """Train and test all models. Models that are already in ``folder`` are not trained again.

    Args:
        letters: The images.
        folder: Folder for a JSON file and a checkpoint per model.
        seeds: Seeds of the trainings.
        jobs: Number of models trained in parallel, one thread each.

    Returns:
        ``models``: the result of :func:`run_one` for each; ``source`` of the letters with their
        ``counts``; ``cpu_seconds`` of all models; ``versions``.

    Raises:
        UserError: ``folder`` has models of other letters, or ``jobs`` is below 1.
    """
    if jobs < 1:
        raise UserError(f'`jobs` {jobs}: at least 1')
    source = json.loads(json.dumps({**letters.source, 'counts': _counts(letters)}))
    stamp = folder / 'letters.json'
    if stamp.is_file() and json.loads(stamp.read_text('utf-8')) != source:
        raise UserError(f'{folder} has models of other letters (see {stamp}): move it away')
    save_json(stamp, source)
    wanted = settings(seeds)
    left = [one for one in wanted if not _file(folder, one).is_file()]
    if left:
        # After a fork, torch could hang: its threads are not copied.
        context = multiprocessing.get_context('spawn')
        with ProcessPoolExecutor(
            jobs, mp_context=context, initializer=_start, initargs=(letters,)
        ) as pool:
            running = [pool.submit(_run_in_process, one, folder) for one in left]
            for future in track(as_completed(running), 'letters', total=len(running)):
                future.result()
    models = [json.loads(_file(folder, one).read_text('utf-8')) for one in wanted]
    return {
        'models': models,
        'source': source,
        'cpu_seconds': round(sum(model['cpu_seconds'] for model in models)),
        'versions': versions(),
    }


def run_one(
    setting: LetterSetting, letters: LetterSet, checkpoint: Path | None = None
) -> dict[str, Any]:
    """Train one model and test it.

    Returns:
        The fields of ``setting``; ``epochs``, ``best_epoch`` and ``val_loss`` of :func:`train`;
        ``accuracy`` (0..1) and ``perplexity`` (exp of the mean cross-entropy) by size of the test
        images; ``shift_errors``, (3, 3) error rates of letters shifted up, not, down (rows) and
        left, not, right (columns); ``cpu_seconds``.
    """
    start = time.process_time()
    model, training = train(setting, letters)
    results: dict[str, Any] = {**vars(setting), **training, 'accuracy': {}, 'perplexity': {}}
    for size in SIZES:
        found = evaluate(model, letters.test, size)
        results['accuracy'][str(size)] = float(found['correct'].mean())
        results['perplexity'][str(size)] = float(np.exp(found['loss']))
    # Enlarged first, so that letters reach the border of inputs of 29 pixels as well.
    images, errors = enlarged(letters.test.images, setting.size), []
    for shift in SHIFTS:
        pushed = Letters(shifted(images, *shift), letters.test.labels)
        errors.append(1 - float(evaluate(model, pushed, setting.size)['correct'].mean()))
    results['shift_errors'] = np.reshape(errors, (3, 3)).tolist()
    results['cpu_seconds'] = round(time.process_time() - start, 1)
    if checkpoint is not None:
        with written_whole(checkpoint) as file:
            torch.save(model.state_dict(), file)
    return results


def _counts(letters: LetterSet) -> dict[str, int]:
    return {part: len(getattr(letters, part)) for part in ('train', 'val', 'test')}


def _file(folder: Path, setting: LetterSetting) -> Path:
    return folder / f'{setting.name}.json'


_letters: LetterSet | None = None


def _start(letters: LetterSet) -> None:
    global _letters
    _letters = letters
    # With more threads, processes that share cores slow each other down.
    torch.set_num_threads(1)


def _run_in_process(setting: LetterSetting, folder: Path) -> None:
    file = _file(folder, setting)
    save_json(file, run_one(setting, _letters, file.with_suffix('.pth')))
