"""Files that this project wrote, torn or changed: scans, unfinished scans, caches of comparisons."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

from fuzz.detectors import write_evaluated
from fuzz.kinds.base import Kind
from fuzz.mutate import ODD, mutated_bytes, mutated_value
from fuzz.outcome import SILENT, Outcome, outcome_of
from mindpad_mm.core.images import read_image
from mindpad_mm.core.journal import FOLDER
from mindpad_mm.evaluation.compare import compare
from mindpad_mm.evaluation.entries import Run
from mindpad_mm.report.page import write_page
from mindpad_mm.scan import ScanResult, blindspot_scan
from mindpad_mm.settings.compare import CompareSettings

_SECRET = b'a file of this machine'


class Outputs(Kind):
    """A scan loaded or resumed, or a comparison repeated, in a folder with one file changed."""

    title = "files of the project's own"
    weight = 2

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config, self.checkpoint, _ = write_evaluated(folder)
        self.photo = read_image(folder / 'photo.png')
        self.object = read_image(folder / 'light.png', cv2.IMREAD_UNCHANGED)
        self.scanned = self._scan(folder / 'scanned', False)
        self._interrupted(folder / 'unfinished')
        with _quiet():
            self.metrics = self._compare(folder / 'compared')

    def run(self, rng: random.Random) -> tuple[str, Outcome]:
        how = rng.choice((self._load, self._load, self._resume, self._compared))
        return how(rng)

    def _load(self, rng: random.Random) -> tuple[str, Outcome]:
        """A finished scan, read again for its page."""
        name = self._mutated('scanned', rng)
        Path('secret.png').write_bytes(_SECRET)

        def use() -> ScanResult:
            result = ScanResult.load('scanned')
            write_page([result], 'page.html')
            return result

        # Who writes other statistics into a whole file gets them.
        edited = 'scan.json: ' in name
        outcome = outcome_of(use, lambda found: self._fault_of_scan(found, not edited))
        page = Path('page.html')
        if page.exists() and _SECRET.hex() in page.read_bytes().hex():
            outcome = Outcome(SILENT, 'a file from outside is in the page')
        return f'load, {name}', outcome

    def _resume(self, rng: random.Random) -> tuple[str, Outcome]:
        """An unfinished scan, continued."""
        name = self._mutated('unfinished', rng)
        return f'resume, {name}', outcome_of(
            lambda: self._scan(Path('unfinished'), True), self._fault_of_scan
        )

    def _compared(self, rng: random.Random) -> tuple[str, Outcome]:
        """A comparison, repeated with its caches."""
        name = self._mutated('compared', rng)

        def fault(found: dict[str, Any]) -> str | None:
            differing = [key for key, value in self.metrics.items() if found.get(key) != value]
            return f'other figures: {", ".join(differing)}' if differing else None

        return f'compare, {name}', outcome_of(lambda: self._compare(Path('compared')), fault)

    def _mutated(self, what: str, rng: random.Random) -> str:
        """Copy a folder here, and change one of its files."""
        shutil.copytree(self.folder / what, what)
        files = sorted(path for path in Path(what).rglob('*') if path.is_file())
        path = rng.choice(files)
        name = str(path.relative_to(what))
        how = rng.random()
        if path.suffix == '.json' and how < 0.6:
            change, content = mutated_value(json.loads(path.read_text()), rng, ODD)
            path.write_bytes(json.dumps(content).encode('utf-8', 'surrogatepass'))
        elif path.suffix == '.npz' and how < 0.5:
            change = _mutated_arrays(path, rng)
        elif how < 0.7:
            change, data = mutated_bytes(path.read_bytes(), rng)
            path.write_bytes(data)
        elif how < 0.8:
            other = rng.choice(files)
            change = f'holds {other.name}'
            path.write_bytes(other.read_bytes())
        elif how < 0.9:
            change = 'is gone'
            path.unlink()
        else:
            change = 'is a folder'
            path.unlink()
            path.mkdir()
        return f'{name}: {change}'

    def _scan(self, out: Path, resume: bool) -> ScanResult:
        result = blindspot_scan(
            (self.config, self.checkpoint),
            self.photo,
            self.object,
            out=out,
            resume=resume,
            label='traffic light',
            sizes=[24],
            stride=16,
            iou_thr=0.1,
        )
        assert result is not None
        return result

    def _interrupted(self, out: Path) -> None:
        """The folder of a scan that was killed before its result was written."""
        with mock.patch.object(ScanResult, 'save', side_effect=KeyboardInterrupt):
            try:
                self._scan(out, False)
            except KeyboardInterrupt:
                assert (out / FOLDER).is_dir()

    def _fault_of_scan(self, found: ScanResult, statistics: bool = True) -> str | None:
        for name in ('scores', 'ious', 'boxes', 'flags', 'clean', 'rows', 'cols'):
            wanted, value = getattr(self.scanned, name), getattr(found, name)
            if not np.array_equal(wanted, value, equal_nan=value.dtype.kind == 'f'):
                return f'{name} differ'
        if statistics and found.info.statistics != self.scanned.info.statistics:
            return 'the statistics differ'
        return None

    def _compare(self, out: Path) -> dict[str, Any]:
        run = Run(str(self.config), str(self.checkpoint))
        return compare([run], out, CompareSettings(draws=40)).entries[0].runs[0].metrics


def _mutated_arrays(path: Path, rng: random.Random) -> str:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = rng.choice(list(arrays))
    array = arrays[name]
    changes = {
        'shape': array.reshape(-1),
        'empty': array[..., :0],
        'shorter': array[..., :-1],
        'text': array.astype(str),
        'bool': array.astype(bool),
        'complex': array.astype(complex),
        'objects': array.astype(object),
        'scalar': np.array(1.0),
    }
    how = rng.choice((*changes, 'missing'))
    if how == 'missing':
        del arrays[name]
    else:
        arrays[name] = changes[how]
    np.savez(path, **arrays)
    return f'{name} {how}'


@contextlib.contextmanager
def _quiet() -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        yield
