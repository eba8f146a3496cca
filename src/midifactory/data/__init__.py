"""Segments, batches and the LightningDataModule."""
