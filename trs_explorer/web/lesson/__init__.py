"""The lesson "Orthogonal is not enough": seven cards, each of which asks for a guess before it shows the answer.

Each card is a module: its texts and controls (CARD) and, if its picture is computed on the server, the routes for it. It is drawn
by assets/web/lesson/NAME.js. The order of the cards is in deck.py.
"""
