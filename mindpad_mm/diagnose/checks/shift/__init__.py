"""Response to one object while the scene moves under the frame."""
