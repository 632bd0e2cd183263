"""Shared by all parts of mindpad_mm: errors, files, images, tables, detectors and their scenes."""
