"""Measurements that the tools print."""
