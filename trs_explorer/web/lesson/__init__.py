"""The lesson "Orthogonal is not enough": seven cards, each of which asks for a guess before it shows the answer.

Each card is a module: its texts and controls (CARD) and, if the server draws its picture, `view`, a function of the card's state.
The first two are drawn by assets/web/lesson/NAME.mjs. The order of the cards is in deck.py. The Dash app is in app.py.
"""
