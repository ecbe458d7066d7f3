"""Ports of their own, for telephone systems that speak neither HTTP nor WebSocket."""
