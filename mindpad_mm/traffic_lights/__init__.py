"""Traffic-light detection sets: real crops composed on photos, or drawn from nothing."""
