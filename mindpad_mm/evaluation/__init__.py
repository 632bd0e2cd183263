"""Metrics on COCO-format test sets: COCO mAP, AP by region, and comparisons of detectors."""

from mindpad_mm.evaluation.runner import evaluate
from mindpad_mm.evaluation.spatial_coco import SpatialCocoMetric

__all__ = ['SpatialCocoMetric', 'evaluate']
