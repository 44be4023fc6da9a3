"""``python -m tests.faults.fleet.control``: the cast, prices and a key, in a process with the quay's database."""

import json
import sys

import django


def seed() -> dict[str, str]:
    """Alice's key for the gateway and REST, and her organization."""
    from moorage.billing import pricing
    from tests.cast import assemble

    alice = assemble().alice
    pricing.ensure_default_prices()
    return {"key": alice.key(), "organization": alice.organization.id}


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(json.dumps(seed()))
