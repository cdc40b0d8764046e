"""The out-of-distribution detector: abstains on images unlike those of the training."""
