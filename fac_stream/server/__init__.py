"""HTTP and WebSockets on one port."""
