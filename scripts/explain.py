"""Look inside one model: the same as `brainmri explain`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("explain")
