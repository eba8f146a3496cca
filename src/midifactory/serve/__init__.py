"""One checkpoint or several over HTTP: requests become rows of a running batch, notes are sent as they come."""
