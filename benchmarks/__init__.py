"""Measurements of the project's parts; not in the wheel."""
