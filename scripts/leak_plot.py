"""Draw what is left of accuracies as less leaks: the same as `brainmri leak_plot`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("leak_plot")
