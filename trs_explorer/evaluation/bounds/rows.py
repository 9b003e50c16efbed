"""The bounds as rows of a table: one for each radius and ordered pair of members. No torch."""

from collections.abc import Iterator

from trs_explorer.files import Json

FIELDS = (
    "n", "alpha", "risk_f", "risk_g", "loss_f", "loss_g", "least", "lowest", "highest", "beta", "steepest", "c_f", "c_g",
    "lower_bound", "transferred", "rate", "low", "high", "eligible", "upper_bound", "promised_radius",
)  # fmt: skip
REASONS = ("lower_vacuous", "upper_vacuous")
HEADER = ("eps", "surrogate", "target", *FIELDS, *(f"{name}_by" for name in REASONS))


def rows(result: Json) -> Iterator[list[object]]:
    """Yield the cells under HEADER. result: of `of_pairs.Bounds.to_json`.

    low, high: the 95 % interval of the rate. The last two: the quantity that makes a bound vacuous, None if it says something.
    """
    for pair in result["pairs"]:
        values = {**pair, "low": pair["interval"][0], "high": pair["interval"][1]}
        members = (f"F{pair['surrogate'] + 1}", f"F{pair['target'] + 1}")
        reasons = ((pair[name] or {}).get("quantity") for name in REASONS)
        yield [pair["eps"], *members, *(values[name] for name in FIELDS), *reasons]
