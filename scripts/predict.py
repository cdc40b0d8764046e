"""Classify images, volumes, folders and ZIP files: the same as `brainmri predict`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("predict")
