"""Samples: decoding, resampling, windows, speech. Pure numpy; no asyncio, no torch."""
