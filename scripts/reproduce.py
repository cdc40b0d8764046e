"""Run the table of results again from a raw folder: the same as `brainmri reproduce`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("reproduce")
