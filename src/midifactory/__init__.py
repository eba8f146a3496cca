"""MIDI AI Factory: learns from MIDI files and composes new music."""

__version__ = "0.1.0"
