"""Draw the bench's rates as a picture: `plot.py results.json picture.png`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

OURS, ENGINE, PEER = "#1a7f5a", "#8fc9b0", "#8a94a6"


def main(results: Path, picture: Path) -> None:
    record = json.loads(results.read_text(encoding="utf-8"))
    machine = record["machine"]
    bars = [bar for bar in record["rates"] if bar["seconds"]]
    names = [bar["name"] for bar in bars][::-1]
    rates = [bar["chunks_per_second"] for bar in bars][::-1]
    colours = [{"ours": OURS, "engine": ENGINE}.get(bar["kind"], PEER) for bar in bars][::-1]
    figure, axes = plt.subplots(figsize=(8.5, 0.55 * len(bars) + 1.4), layout="constrained")
    drawn = axes.barh(names, rates, color=colours, height=0.68)
    axes.bar_label(drawn, [f"{rate:.1f}" for rate in rates], padding=4)
    axes.set_xlabel("chunks per second, texts to committed table")
    axes.set_title(f"{machine['cpu']}, {machine['cores']} cores", fontsize=10, loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.1)
    figure.savefig(picture, dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
