"""What goes to a terminal: text from outside must not move the cursor or change colours there."""


def printable(text: str) -> str:
    """The same text with ``?`` for every character that is not printable."""
    return "".join(character if character.isprintable() else "?" for character in text)
