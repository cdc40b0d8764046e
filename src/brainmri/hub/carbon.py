"""What the training of a run cost: its time, and an estimate of energy and emissions, which nobody measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Assumptions, not measurements; each stands in every text that shows the estimate.
WATTS_OF_A_CORE = 10  # a server processor of 64 cores takes about 280 W, and its machine as much again
WATTS_OF_A_GPU = 500  # a data-centre GPU at work, with its share of the machine
GRAMS_PER_KWH = 475  # CO2 equivalents of the world's electricity on average (IEA, 2018)


@dataclass(frozen=True)
class Carbon:
    """watt_hours and grams (of CO2 equivalents) of one training; `assumptions` in words."""

    watt_hours: float
    grams: float
    assumptions: str

    def metadata(self, result: dict[str, Any]) -> dict[str, Any]:
        """The key `co2_eq_emissions` of a model card."""
        return {
            "emissions": float(f"{self.grams:.2g}"),
            "source": f"estimated, not measured: {self.assumptions}",
            "training_type": "pre-training" if result["weights"] == "random" else "fine-tuning",
            "hardware_used": str(result["environment"].get("hardware")),
        }


def carbon(result: dict[str, Any]) -> Carbon | None:
    """The estimate for a run; None where its time or its processors are not known."""
    seconds, environment = result["training"]["time_to_converge_s"], result["environment"]
    hardware, world = str(environment.get("hardware") or ""), int(result["training"].get("world_size") or 1)
    on_cpu = hardware.endswith("cores")
    threads = environment.get("threads")
    if seconds is None or not hardware or (on_cpu and not threads):
        return None
    watts = WATTS_OF_A_CORE * int(threads) * world if on_cpu else WATTS_OF_A_GPU * world
    each = f"{WATTS_OF_A_CORE} W for each processor core in use" if on_cpu else f"{WATTS_OF_A_GPU} W for each GPU"
    hours = seconds / 3600
    return Carbon(watts * hours, watts * hours / 1000 * GRAMS_PER_KWH, f"{each}, {GRAMS_PER_KWH} g CO2eq per kWh")
