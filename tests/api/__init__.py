"""The public API and the commands that were made with it."""
