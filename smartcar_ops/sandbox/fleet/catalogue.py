"""Makes, models, vehicle identification numbers, and the metric size of imperial units."""

from __future__ import annotations

import random
from dataclasses import dataclass

VIN_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
VIN_ALPHABET = "0123456789" + VIN_LETTERS
YEAR_CODES = {
    2017: "H",
    2018: "J",
    2019: "K",
    2020: "L",
    2021: "M",
    2022: "N",
    2023: "P",
    2024: "R",
    2025: "S",
    2026: "T",
}
_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_VALUES = {
    **{str(digit): digit for digit in range(10)},
    **dict(zip("ABCDEFGH", range(1, 9), strict=True)),
    **dict(zip("JKLMN", range(1, 6), strict=True)),
    "P": 7,
    "R": 9,
    **dict(zip("STUVWXYZ", range(2, 10), strict=True)),
}


@dataclass(frozen=True, slots=True)
class Model:
    """A model: its make, its powertrain, battery (kWh, 0 if none) and tank (liters, 0 if none)."""

    make: str
    name: str
    powertrain: str
    maker_code: str
    capacity: float = 0
    tank: int = 0


MODELS = (
    Model("VOLKSWAGEN", "ID.4", "BEV", "WVG", 82),
    Model("VOLKSWAGEN", "ID.3", "BEV", "WVW", 62),
    Model("VOLKSWAGEN", "Golf", "ICE", "WVW", 0, 50),
    Model("TESLA", "Model 3", "BEV", "5YJ", 75),
    Model("TESLA", "Model Y", "BEV", "7SA", 78.4),
    Model("FORD", "Mustang Mach-E", "BEV", "3FM", 91),
    Model("FORD", "F-150", "ICE", "1FT", 0, 98),
    Model("HYUNDAI", "IONIQ 5", "BEV", "KM8", 77.4),
    Model("HYUNDAI", "Tucson Plug-in Hybrid", "PHEV", "KM8", 13.8, 42),
    Model("TOYOTA", "RAV4 Prime", "PHEV", "JTM", 18.1, 55),
    Model("TOYOTA", "Corolla", "ICE", "JTD", 0, 50),
    Model("BMW", "i4", "BEV", "WBY", 83.9),
    Model("BMW", "X5 xDrive50e", "PHEV", "5UX", 25.7, 69),
)


def pick_model(rng: random.Random) -> Model:
    """Return a model. Battery cars are twice as likely, because V2 customers connected those first."""
    return rng.choices(MODELS, [2 if model.powertrain == "BEV" else 1 for model in MODELS])[0]


def check_digit(vin: str) -> str:
    """Return the ninth character that a North American VIN must have (0-9 or X)."""
    rest = sum(_VALUES[letter] * weight for letter, weight in zip(vin, _WEIGHTS, strict=True)) % 11
    return "X" if rest == 10 else str(rest)


def with_check_digit(vin: str) -> str:
    """Return the VIN with its ninth character corrected."""
    return vin[:8] + check_digit(vin) + vin[9:]


def make_vin(rng: random.Random, maker_code: str, year: int) -> str:
    """Return a plausible 17-character VIN with a valid check digit and without I, O and Q."""
    described = "".join(rng.choice(VIN_ALPHABET) for _ in range(5))
    plant = rng.choice(VIN_LETTERS)
    serial = f"{rng.randrange(1_000_000):06d}"
    return with_check_digit(f"{maker_code}{described}0{YEAR_CODES[year]}{plant}{serial}")


KM_PER_MILE = 1.609344
LITRES_PER_GALLON = 3.785411784
KPA_PER_PSI = 6.894757
