"""The commands: `brainmri COMMAND` and `scripts/COMMAND.py` are the same."""
