"""Scoring any model, or anybody's predictions, on any prepared data set."""
