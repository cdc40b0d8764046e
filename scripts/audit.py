"""Look for leaks and shortcuts before anything is trained: the same as `brainmri audit`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("audit")
