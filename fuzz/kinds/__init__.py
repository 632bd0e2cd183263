"""Kinds of inputs."""
