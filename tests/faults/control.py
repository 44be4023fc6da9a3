"""``python -m tests.faults.control seed|rate``: the control plane's part, in a process with the harbour's database."""

import json
import sys

import django
import msgspec


def seed(sockets: list[str]) -> dict[str, str]:
    """The cast, prices, and two models that both engines serve. Returns Alice's key and organization."""
    from django.db import connection

    from moorage.billing import pricing
    from moorage.deployments.models import Deployment
    from moorage.kernel import clock
    from moorage.wire.records import ReplicaAddress, Route
    from tests.cast import assemble

    alice = assemble().alice
    pricing.ensure_default_prices()
    deployment = Deployment.objects.create(organization=alice.organization, name="harbour")
    replicas = tuple(ReplicaAddress(id=f"rep_{number}", socket=path) for number, path in enumerate(sockets))
    for engine in ("llamacpp", "vllm"):
        route = Route(
            id=f"{deployment.id}:{engine}",
            organization_id=alice.organization.id,
            served_name=f"harbour/{engine}",
            deployment_id=deployment.id,
            deployment_name="harbour",
            model_key=engine,
            revision_id="rev_1",
            engine=engine,
            kind="chat",
            context_size=4096,
            status="ready",
            replicas=replicas,
        )
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO route (id, organization_id, deployment_id, model_key, served_name, document, changed_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [
                    route.id,
                    route.organization_id,
                    route.deployment_id,
                    engine,
                    route.served_name,
                    msgspec.json.encode(route).decode(),
                    clock.now(),
                ],
            )
    return {"key": alice.key(), "organization": alice.organization.id}


def rate() -> dict[str, object]:
    """What beat rings, until nothing is due."""
    from moorage.billing import tasks
    from moorage.billing.models import UnratedUsage

    tasks.rate()
    return {"unrated": UnratedUsage.objects.count()}


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(json.dumps(seed(sys.argv[2:]) if sys.argv[1] == "seed" else rate()))
