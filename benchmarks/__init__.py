"""Benchmarks of speed, memory and agreement between engines; run ``python -m benchmarks``."""
