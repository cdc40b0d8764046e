"""The reporting checklists CLAIM 2024 and TRIPOD+AI, filled from what a run leaves."""
