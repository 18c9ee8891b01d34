"""Draws a result file of `cargo xtask bench scaling`, beside it as PNG."""

from figures import draw, plt


def plot(results):
    count = len(results["series"])
    figure, axes = plt.subplots(1, count, figsize=(4 * count, 4), squeeze=False)
    axes = axes[0]
    for axis, series in zip(axes, results["series"]):
        sizes = [point["size"] for point in series["points"]]
        # Wide below narrow: where a clip's work is the same, both lie on each other.
        for name, label, colour, line in (
            ("clips_per_second", "clips a second", "#94a3b8", 4),
            ("work_per_second", "work a second", "#c2410c", 1.5),
        ):
            values = [point[name] for point in series["points"]]
            axis.plot(sizes, values, marker="o", color=colour, label=label, linewidth=line)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        low, high = axis.get_ylim()
        low, high = min(low, high / 10), high * 1.1
        axis.set_ylim(low, high)
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500) if low <= tick <= high]
        axis.set_yticks(ticks, [str(tick) for tick in ticks])
        axis.set_title(series["name"])
        axis.set_xlabel(series["axis"])
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    machine = results["machine"]
    figure.suptitle(f"Cost as the work grows, {machine['cpu']}, {machine['cores']} cores")
    return figure


if __name__ == "__main__":
    draw(plot)
