"""Autoscaling without machines: seeded traces replayed against our policy and a reference policy. Pure."""
