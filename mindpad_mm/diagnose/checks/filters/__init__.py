"""Asymmetry of mean filters."""
