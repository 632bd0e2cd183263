"""The studies of ``docs/RESULTS.md``: effects of padding, with several trainings per setting."""
