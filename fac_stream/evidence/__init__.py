"""The audio around an alert: kept encrypted for a purpose and a time, scored again, exported."""
