"""Metrics over notes and likelihood per note; the model is handed in."""
