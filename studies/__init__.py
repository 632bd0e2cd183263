"""The studies behind ``docs/RESULTS.md``: what padding does, over several trainings a setting."""
