"""Publish runs, data, results or the demo on the Hub: the same as `brainmri publish`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("publish")
