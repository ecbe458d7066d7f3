"""``python -m fac_stream`` is the command ``fac``."""

from fac_stream.cli import main

if __name__ == "__main__":
    main()
