"""A gateway in front of a fake engine, as the gateway's own tests have it."""

from tests.gateway.conftest import alices_key, client, control, engine, gateway, start_gateway

__all__ = ["alices_key", "client", "control", "engine", "gateway", "start_gateway"]
