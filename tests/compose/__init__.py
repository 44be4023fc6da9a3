"""Compose text -> Spec: valid, dialect and hostile files."""
