"""One LightningModule for every sequence model, its callbacks and checkpoints."""
