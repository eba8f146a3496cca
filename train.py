"""python train.py ...: the same as `midifactory train ...`."""

from midifactory.cli.train import main

if __name__ == "__main__":
    main()
