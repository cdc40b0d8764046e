"""From a recipe and prepared data to weights and predictions."""
