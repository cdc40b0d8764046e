"""Write the demo that runs in a visitor's browser: the same as `brainmri demo`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("demo")
