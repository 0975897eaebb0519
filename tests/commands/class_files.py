"""Small labelled files that learning anything from takes no time."""

import numpy as np

TINY = ("--width", "4", "--epochs", "1", "--quiet")


def texts(count=60):
    """Rows of a table: a text and its class."""
    words = ["good fine nice", "bad poor sad"]
    return [(f"{words[n % 2]} {n % 7}", ["yes", "no"][n % 2]) for n in range(count)]


def write_texts(path, rows=None):
    lines = ["text,label", *(f"{text},{label}" for text, label in rows or texts())]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_ts(path, head=(), rows=None, count=40):
    """Series of two dimensions and unequal lengths."""
    head = {
        "problemName": "toy", "timeStamps": "false", "missing": "false", "univariate": "false",
        "dimensions": "2", "equalLength": "false", "classLabel": "true a b", **dict(head),
    }  # fmt: skip
    if rows is None:
        rows = []
        for n in range(count):
            steps = 3 + n % 3
            numbers = ",".join(str(n % 2 + step) for step in range(steps))
            rows.append(f"{numbers}:{numbers}:{'ab'[n % 2]}")
    lines = [*(f"@{name} {value}" for name, value in head.items()), "@data", *rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_images(folder, sizes=((8, 8),), modes=("L",), count=12):
    """A folder for each class, of small PNGs."""
    from PIL import Image

    for n in range(count):
        label = "ab"[n % 2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        height, width = sizes[n % len(sizes)]
        pixels = np.full((height, width), 20 + 200 * (n % 2), np.uint8)
        pixels[n % height, n % width] = 7 * n % 256
        Image.fromarray(pixels).convert(modes[n % len(modes)]).save(folder / label / f"{n}.png")
    return folder
