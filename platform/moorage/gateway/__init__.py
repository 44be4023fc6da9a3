"""The data plane: authenticates, routes, holds during cold starts, relays, counts and journals. No Django here."""
