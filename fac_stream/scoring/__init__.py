"""Windows in, scores out, on CPU or GPU."""
