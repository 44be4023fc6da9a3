"""The command line `moorage`: the REST API for people and pipelines, nothing more."""
