"""Wire formats: bytes and messages in, frames out. No I/O here."""
