"""MidiTok behind one wrapper, the grammar, and the token store. Built on music."""
