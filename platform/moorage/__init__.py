"""Moorage: a Docker Compose file with a models element becomes billed, OpenAI-compatible endpoints."""
