"""FAC Stream: is the voice on this call human or machine-made?"""

__version__ = "0.1.0"
