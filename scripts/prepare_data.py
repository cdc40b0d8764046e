"""Turn a folder of MRI slices into a prepared data set: the same as `brainmri prepare_data`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("prepare_data")
