"""The HTML page of `trs blackbox --html`: robust accuracy over eps."""

from trs_explorer.files import printable

NORMS = {"linf": "maximum norm", "l2": "L2 norm"}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#3b3b98")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")
BAND_OPACITY = 0.18


def curve_page(results: list[dict]) -> str:
    """A curve for each run with its 95 % intervals as a band, and its white-box accuracy dotted. The page needs no network."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, result in enumerate(results):
        several = any(row["attack"] == "all" for row in result["rows"])
        rows = [row for row in result["rows"] if row["attack"] == "all" or not several]
        colour, symbol = COLOURS[number % len(COLOURS)], SYMBOLS[number % len(SYMBOLS)]
        robust, eps = [row["robust"] for row in rows], [row["robust"]["eps"] for row in rows]
        band = [100 * rate["high"] for rate in robust] + [100 * rate["low"] for rate in reversed(robust)]
        run = printable(result["run"])
        shared = {"name": run, "legendgroup": run, "hoverinfo": "skip", "showlegend": False}
        filled = {"fill": "toself", "fillcolor": _faint(colour), "mode": "none"}
        figure.add_scatter(x=eps + eps[::-1], y=band, **filled, **shared)
        figure.add_scatter(
            x=eps,
            y=[100 * row["white_box"]["correct"] / row["white_box"]["n"] for row in rows],
            mode="lines",
            line={"color": colour, "dash": "dot"},
            **shared,
        )
        figure.add_scatter(
            x=eps,
            y=[100 * rate["accuracy"] for rate in robust],
            mode="lines+markers",
            line={"color": colour},
            marker={"symbol": symbol, "size": 9},
            name=run,
            legendgroup=run,
            text=[
                f"{rate['correct']} of {rate['n']} correct after all {row['attempts']} attempts "
                f"({100 * rate['low']:.1f} - {100 * rate['high']:.1f} %)"
                for row, rate in zip(rows, robust, strict=True)
            ],
            hovertemplate="ε %{x}: %{text}",
        )
    n = results[0]["rows"][0]["robust"]["n"]
    made_on = ", ".join(printable(maker["name"]) for maker in results[0]["surrogates"])
    figure.update_layout(
        template="simple_white",
        title={"text": f"Black box: accuracy after all attempts, % of {n} images, 95 % intervals", "subtitle": {"text": made_on}},
        xaxis={"title": f"ε, {NORMS[results[0]['norm']]}, pixels in [0, 1]", "rangemode": "tozero"},
        yaxis={"title": "%; dotted: white box, PGD-50", "range": [-2, 101]},
        font={"size": 15},
        margin={"t": 90, "b": 60, "l": 70, "r": 20},
    )
    return figure.to_html(include_plotlyjs=True)


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{BAND_OPACITY})"
