"""What is written down of calls, and what can be asked of it."""
