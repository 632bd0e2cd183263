"""What ``scan.json`` holds: scenes and objects, settings, how the scan ran, and statistics."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from mindpad_mm.core.files import json_types
from mindpad_mm.scan.cutouts import WindowInfo
from mindpad_mm.scan.statistics import ScanStatistics


@dataclass
class BackgroundInfo:
    """A scene: its source, its file in the scan's folder, and its size in pixels.

    ``photo`` is the part that the photo fills, (top, left, height, width) in pixels. The rest is what
    the test pipeline pads; it has no positions.
    """

    source: str
    file: str
    height: int
    width: int
    photo: list[int]


@dataclass
class ObjectInfo:
    """An object: its source, and for each size its file and its (height, width) in pixels."""

    source: str
    files: list[str]
    boxes: list[list[int]]


@dataclass
class ScanRun:
    """How a scan was run.

    Attributes:
        backgrounds, objects: The scenes and the objects.
        sizes: Lengths of the objects' longer side, pixels of the scene; None: each object's natural
            size, which its ``boxes`` give.
        inside_stride: Pixels between positions that are more than 32 px from every border.
        engine: Name of the engine.
        engine_notes: Notes of the engine for each map and process, see :meth:`Engine.notes`, with the
            ``background``, ``object`` and ``size`` of the map.
        batch_size: Positions per forward pass.
        processes, threads: Number of processes, and of threads in each.
        positions: Number of positions of all maps.
        seconds: Time spent on positions, divided by the number of processes.
        positions_per_second: Speed of all processes together, without their start; positions in
            shifted windows count.
        windows: Where each scene was cut out of a photo; empty if they are no windows.
    """

    backgrounds: list[BackgroundInfo]
    objects: list[ObjectInfo]
    sizes: list[int | None]
    inside_stride: int
    engine: str
    engine_notes: list[dict[str, Any]]
    batch_size: int
    processes: int
    threads: int
    positions: int
    seconds: float
    positions_per_second: float
    windows: list[WindowInfo]


@dataclass
class ScanInfo(ScanRun):
    """The content of ``scan.json``.

    Attributes:
        config, checkpoint: Paths of the detector's files. For a built detector: its config or class,
            and ``'in memory'``.
        cfg_options: Overrides of the config, including lowered score thresholds.
        label, label_index: Name and index of the objects' class.
        space, stride, quick, far, iou_thr, clean_thr, tolerance, seed: See :class:`ScanSettings`.
        device: Torch device.
        periods: Candidate periods of the grid's pattern, (vertical, horizontal) pixels of the scene.
        versions: Version of each package.
        fingerprint: Everything that the scores depend on. A scan can only be resumed with the same.
        statistics: Statistics of the maps, and their means over backgrounds.
    """

    config: str
    checkpoint: str | None
    cfg_options: dict[str, Any]
    label: str
    label_index: int
    space: str
    stride: int
    quick: bool
    far: int
    iou_thr: float
    clean_thr: float
    tolerance: float
    device: str
    seed: int
    periods: list[list[float]]
    versions: dict[str, str]
    fingerprint: dict[str, Any]
    statistics: ScanStatistics

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON types."""
        return {**dataclasses.asdict(self), 'cfg_options': json_types(self.cfg_options)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ScanInfo:
        """Read what :meth:`to_json` gives.

        Raises:
            KeyError: A field is missing.
        """

        def fields(kind: Any, given: dict[str, Any]) -> dict[str, Any]:
            return {field.name: given[field.name] for field in dataclasses.fields(kind)}

        values = fields(cls, content)
        for name, kind in (
            ('backgrounds', BackgroundInfo),
            ('objects', ObjectInfo),
            ('windows', WindowInfo),
        ):
            values[name] = [kind(**fields(kind, each)) for each in content[name]]
        return cls(**values)
