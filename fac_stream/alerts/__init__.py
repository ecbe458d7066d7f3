"""From decisions to the people who must know."""
