"""Score a model, or anybody's predictions, on a data set: the same as `brainmri evaluate`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("evaluate")
