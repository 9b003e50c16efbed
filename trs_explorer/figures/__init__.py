"""Figures: pure functions from data to plotly figures, for the web pages, exports, handouts and notebooks. No dash, no torch."""
