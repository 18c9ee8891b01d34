"""Draws a result file of `cargo xtask bench model` as bars, beside it as PNG."""

import statistics

from figures import draw, plt


def plot(results):
    times = results["times"]
    cells = list(next(iter(times.values())))
    names = sorted(times, key=lambda name: -statistics.median(times[name][cells[0]]))
    figure, axes = plt.subplots(1, len(cells), figsize=(4 * len(cells), 4.2), sharey=True)
    for axis, cell in zip(axes, cells):
        batch = int(cell.rsplit(" ", 1)[1])
        rounds = [[1e3 * seconds / batch for seconds in times[name][cell]] for name in names]
        middle = [statistics.median(values) for values in rounds]
        spread = [
            [value - min(values) for value, values in zip(middle, rounds)],
            [max(values) - value for value, values in zip(middle, rounds)],
        ]
        colours = ["#c2410c" if name.startswith("protoguard") else "#94a3b8" for name in names]
        bars = axis.barh(names, middle, xerr=spread, color=colours, ecolor="#334155")
        axis.bar_label(bars, [f" {value:.0f}" for value in middle], padding=6)
        axis.set_title(cell)
        axis.set_xlabel("ms a clip, less is better")
        axis.set_xlim(0, 1.15 * max(max(values) for values in rounds))
        axis.spines[["top", "right"]].set_visible(False)
    settings, machine = results["settings"], results["machine"]
    figure.suptitle(
        f"Forward pass, {settings['side']} pixels, width {settings['base_width']}, "
        f"{machine['cpu']}, {machine['cores']} cores"
    )
    return figure


if __name__ == "__main__":
    draw(plot)
