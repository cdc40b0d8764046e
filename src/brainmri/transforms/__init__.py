"""Random and fixed transformations of images."""
