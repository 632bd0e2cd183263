"""Detectors and inputs for tests and benchmarks."""
