"""Figures: pure functions from data to plotly figures, for the pages, the exports and a notebook."""
