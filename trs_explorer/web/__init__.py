"""The web explorer: a view of runs in the browser."""
