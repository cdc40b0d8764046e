"""`python -m brainmri` is `brainmri`."""

from brainmri.cli.main import main

if __name__ == "__main__":
    main()
