"""The lesson "Orthogonal is not enough": seven cards, each of which asks for a guess before it shows what happens.

A card is a module: its words and controls (CARD) and, where its picture needs this machine, the addresses that it asks. Its
drawing is assets/web/lesson/NAME.js. The cards' order is in deck.py.
"""
