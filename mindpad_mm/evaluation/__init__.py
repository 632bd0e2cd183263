"""What a detector scores on a COCO-format set."""

from mindpad_mm.evaluation.coco import evaluate

__all__ = ['evaluate']
