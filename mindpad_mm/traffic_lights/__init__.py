"""Traffic-light detection sets: real crops pasted into photos, or everything drawn."""
