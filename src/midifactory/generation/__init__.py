"""Sampling, the cached engine, styles and prompts."""
