"""What a call is, how its legs are decided."""
