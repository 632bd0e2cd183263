"""What a detector scores on a COCO-format set, where in its images, and against others."""

from mindpad_mm.evaluation.coco import evaluate
from mindpad_mm.evaluation.spatial_coco import SpatialCocoMetric

__all__ = ['SpatialCocoMetric', 'evaluate']
