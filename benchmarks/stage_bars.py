"""Images of where time goes: a horizontal bar for each case, its stages side by side."""

from matplotlib.figure import Figure

WRITTEN = 0.025  # a stage says its number where it takes this share of the axis


def draw(path, cases, stages, axis, number, marks=(), columns=3):
    """Draws the bars and writes the image.

    `cases` maps a name to the widths of its `stages` and to the places of its `marks` (None: no
    such mark), `marks` a label to its line style, and `number` makes the text of a width of a case.
    """
    figure = Figure(figsize=(9, 0.65 * len(cases) + 1.6), layout="constrained")
    axes = figure.subplots()
    longest = max(sum(widths) for widths, _ in cases.values())
    for place, (name, (widths, places)) in enumerate(cases.items()):
        start = 0.0
        for color, (stage, width) in enumerate(zip(stages, widths, strict=True)):
            label = stage if place == 0 else None
            axes.barh(place, width, left=start, color=f"C{color}", label=label)
            if width > WRITTEN * longest:
                middle = start + width / 2
                axes.text(middle, place, number(name, width), ha="center", va="center", fontsize=9)
            start += width
        for (label, style), mark in zip(dict(marks).items(), places, strict=True):
            if mark is not None:
                label = label if place == 0 else None
                axes.plot([mark] * 2, [place - 0.45, place + 0.45], style, linewidth=2, label=label)
    axes.set_yticks(range(len(cases)), cases)
    axes.invert_yaxis()
    axes.set_xlabel(axis)
    figure.legend(loc="outside upper center", ncols=columns, frameon=False)
    figure.savefig(path, dpi=110)
