"""Padding that strided layers read on one side only."""
