"""Compare finished runs: the same as `brainmri compare`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("compare")
