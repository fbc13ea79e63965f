"""``python -m etlctl``: the command line without an installed script."""

from etlctl.cli.main import main

if __name__ == "__main__":
    main()
