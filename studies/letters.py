"""Does it matter to a classifier of letters how it pads, and whether it does so evenly?

The experiments of a reproducibility report of "Mind the Pad" on a small sequential classifier.
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
    """All models: modes, with and without batch norm, both sizes, a seed after the other."""
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
    """Train and test all models. Those that are in ``folder`` already are not trained again.

    Args:
        letters: The pictures.
        folder: A JSON file and a checkpoint a model.
        seeds: Of the trainings.
        jobs: Models at once, a thread each.

    Returns:
        ``models``, what :func:`run_one` gives of each; ``source`` of the letters, their ``counts``;
        ``cpu_seconds``; ``versions``.

    Raises:
        UserError: ``folder`` holds models of other letters, or ``jobs`` is below 1.
    """
    if jobs < 1:
        raise UserError(f'--jobs {jobs}: at least 1')
    source = json.loads(json.dumps({**letters.source, 'counts': _counts(letters)}))
    stamp = folder / 'letters.json'
    if stamp.is_file() and json.loads(stamp.read_text('utf-8')) != source:
        raise UserError(f'{folder} holds models of other letters (see {stamp}): move it away')
    save_json(stamp, source)
    wanted = settings(seeds)
    left = [one for one in wanted if not _file(folder, one).is_file()]
    if left:
        # Spawned: a fork would share the threads of a torch that has already run.
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
        The setting's fields; ``epochs``, ``best_epoch``, ``val_loss``; ``accuracy`` and
        ``perplexity`` (exp of the mean cross-entropy) by the size of the tested input;
        ``shift_errors``: (3, 3) share of wrong letters, pushed up / not / down and left / not /
        right; ``cpu_seconds``.
    """
    start = time.process_time()
    model, training = train(setting, letters)
    results: dict[str, Any] = {**vars(setting), **training, 'accuracy': {}, 'perplexity': {}}
    for size in SIZES:
        found = evaluate(model, letters.test, size)
        results['accuracy'][str(size)] = float(found['correct'].mean())
        results['perplexity'][str(size)] = float(np.exp(found['loss']))
    # Pushed within the input that the model sees, so that even inputs have no gap at two borders.
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
    # More than one thread a process slows processes that share their cores.
    torch.set_num_threads(1)


def _run_in_process(setting: LetterSetting, folder: Path) -> None:
    file = _file(folder, setting)
    save_json(file, run_one(setting, _letters, file.with_suffix('.pth')))
