"""``python -m ingestr`` and the console script."""

from ingestr.cli import main

if __name__ == "__main__":
    main()
