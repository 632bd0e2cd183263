"""Deviation of padded feature maps from those of the uncropped photo."""
