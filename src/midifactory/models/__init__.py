"""Plain torch modules behind one interface (models/interface.py)."""
