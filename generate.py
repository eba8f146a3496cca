"""python generate.py ...: the same as `midifactory generate ...`."""

from midifactory.cli.generate import main

if __name__ == "__main__":
    main()
