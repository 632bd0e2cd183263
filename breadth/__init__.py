"""What works on each of MMDetection's config folders: the table of docs/SUPPORT.md. Not installed."""
