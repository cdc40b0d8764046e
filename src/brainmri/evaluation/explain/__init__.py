"""Looking inside one model."""
