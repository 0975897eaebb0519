"""Small files of pairs: numbers in digits, and in words from the last digit to the first."""

WORDS = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
COUNT = 150
TINY = ("--steps", 4, "--width", 6, "--tokens", "characters,words", "--split", "0.8,0.1,0.1",
        "--quiet")  # fmt: skip


def sources():
    return [str(100 + 37 * at % 900) for at in range(COUNT)]


def targets():
    return [" ".join(WORDS[int(digit)] for digit in reversed(one)) for one in sources()]


def lines(texts):
    return "".join(f"{text}\n" for text in texts)


def write_pairs(folder):
    """The same pairs as `.tsv`, and as two files."""
    rows = zip(sources(), targets(), strict=True)
    (folder / "pairs.tsv").write_text(lines(f"{a}\t{b}" for a, b in rows), encoding="utf-8")
    (folder / "all.num").write_text(lines(sources()), encoding="utf-8")
    (folder / "all.de").write_text(lines(targets()), encoding="utf-8")
    return folder
