"""Border artifacts in feature maps."""
