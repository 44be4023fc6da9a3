"""`./manage.py bench coldstart`: from a client's request to its first token, for a model that sleeps."""
