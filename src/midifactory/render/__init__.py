"""Audio, piano rolls and plots of a Score."""
