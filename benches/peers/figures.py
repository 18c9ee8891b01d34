"""What the plots of result files share: the file to read, and the PNG beside it."""

import argparse
import json
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def draw(plot):
    """Calls `plot` with the results of the file that the command line names, and saves the figure
    that it returns beside that file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=pathlib.Path)
    path = parser.parse_args().results
    figure = plot(json.loads(path.read_text()))
    figure.tight_layout()
    figure.savefig(path.with_suffix(".png"), dpi=110)
    plt.close(figure)
