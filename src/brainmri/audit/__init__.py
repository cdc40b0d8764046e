"""Leaks and shortcuts of a data set, found before anything is trained."""
