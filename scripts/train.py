"""Train one recipe and write its run folder: the same as `brainmri train`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("train")
