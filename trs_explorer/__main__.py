"""`python -m trs_explorer`: the same as the `trs` command."""

from trs_explorer.cli import main

if __name__ == "__main__":
    main()
