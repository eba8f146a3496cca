"""One file per command: compose, instantiate, run. The only floor that knows Hydra and OmegaConf."""
