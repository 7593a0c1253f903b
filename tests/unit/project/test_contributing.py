"""The map in CONTRIBUTING.md is the one that import-linter holds."""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def layers(contract: str) -> list[list[str]]:
    """Return the rooms of a contract of layers, from the top down."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    rows = parser[f"importlinter:contract:{contract}"]["layers"].split("\n")
    return [re.findall(r"\w+", row) for row in rows if row.strip()]


@pytest.mark.parametrize("contract", ["front-layers", "core-layers", "format-layers"])
def test_the_map_names_the_rooms_in_the_order_of_the_contract(contract: str) -> None:
    chart = TEXT.partition("## The map")[2].partition("## The words")[0]
    place = {"front-layers": "webhook/ ", "core-layers": "workers/ "}
    begin = chart.index(place.get(contract, "cvmfs/ "))
    for row in layers(contract):
        ends = []
        for room in row:
            found = re.compile(rf"\b{room}\b").search(chart, begin)
            assert found, f"{room} is missing, or comes before what is above it"
            ends.append(found.start())
        begin = min(ends)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:webhook|workers|tests|helm)/[\w./]+)`", TEXT)))
)
def test_what_it_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()
