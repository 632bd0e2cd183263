"""Put together what the chunks of a scan say about bystanders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.structures import InstanceData

from mindpad_mm.scan.arrays import ScanArrays
from mindpad_mm.scan.bystanders import Bystanders, counting
from mindpad_mm.scan.chunks import Chunk, ChunkResult


def collect_bystanders(
    arrays: ScanArrays, clean: Sequence[InstanceData], results: Mapping[Chunk, ChunkResult]
) -> Bystanders:
    """The bystanders of all maps.

    Args:
        arrays: The scan's arrays.
        clean: Detections in each scene without the object.
        results: What the chunks gave; those of shifted windows have no bystanders.
    """
    shape = arrays.scores.shape
    known = [counting(clean[number]) for number in range(shape[0])]
    most = max(len(labels) for _, _, labels in known)
    boxes = np.full((shape[0], most, 4), np.nan, np.float32)
    scores = np.full((shape[0], most), np.nan, np.float32)
    labels = np.full((shape[0], most), -1, np.int16)
    for number, each in enumerate(known):
        count = len(each[2])
        boxes[number, :count], scores[number, :count], labels[number, :count] = each
    states = np.zeros((*shape, most), np.uint8)
    appeared = np.zeros((*shape, 2), np.uint16)
    for chunk, result in results.items():
        if result.bystanders is None:
            continue
        rows, cols = chunk.map.positions(chunk.start, chunk.stop).T
        at = np.searchsorted(arrays.rows, rows), np.searchsorted(arrays.cols, cols)
        count = result.bystanders.shape[1] - 2
        states[chunk.map.index][at[0], at[1], :count] = result.bystanders[:, :count]
        appeared[chunk.map.index][at] = result.bystanders[:, count:]
    return Bystanders(states, appeared, boxes, scores, labels)
