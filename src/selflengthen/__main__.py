"""`python -m selflengthen`: the command line. What does not live here: the commands (`cli`)."""

from selflengthen.cli import main

if __name__ == "__main__":
    main()
