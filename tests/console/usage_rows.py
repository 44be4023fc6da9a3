"""October of the harbour, measured and rated by the rooms themselves: what the pages have to show."""

from moorage.accounts.models import Organization
from moorage.billing import closing, queries, rater
from moorage.billing.models import Invoice
from moorage.billing.statement import Line
from moorage.deployments.models import Deployment, Replica, Revision
from moorage.deployments.pins import Pin
from tests.billing.measured import CLOSING, OCTOBER, everything_shipped, price_list, run, use

MONTH = "2026-10"
DIGEST = f"sha256:{'9f' * 32}"


def october(organization: Organization, *, tokens: tuple[int, int, int] = (1234, 200, 567)) -> str:
    """One rated request and 90 replica seconds; the request's id."""
    price_list()
    request_id = use(organization, tokens=tokens)
    run(organization, seconds=90)
    rater.rate_all()
    return request_id


def line_of(organization: Organization, meter: str) -> Line:
    """The line of October's statement with this meter."""
    lines = queries.statement(organization=organization, period=OCTOBER).statement.lines
    return next(line for line in lines if line.meter == meter)


def closed_october(organization: Organization) -> Invoice:
    """October's invoice, waiting for a review as an organization's first one does."""
    october(organization, tokens=(1234, 200, 2_000_000))
    everything_shipped()
    closing.close_period(OCTOBER, CLOSING)
    return Invoice.objects.get(organization=organization)


def deployed(organization: Organization) -> Replica:
    """A replica of a deployment of one model."""
    pin = Pin(
        model_key="llm",
        served_name="demo/llm",
        reference="catalog/harbour:q8_0",
        artifact_id="art_a",
        digest=DIGEST,
        format="gguf",
        quantization="Q8_0",
        engine="llamacpp",
        kind="chat",
        context_size=4096,
        slots=4,
        memory_bytes=2**29,
        cpu_millis=1000,
        gpus=0,
        size_bytes=2_345_678,
    )
    deployment = Deployment.objects.create(organization=organization, name="demo")
    revision = Revision.objects.create(
        deployment=deployment,
        number=1,
        compose="models: {}",
        spec={},
        pins={"llm": pin.to_json()},
        content_hash="0" * 64,
        created_by="alice@example.com",
    )
    Deployment.objects.filter(pk=deployment.pk).update(target=revision)
    return Replica.objects.create(
        deployment=deployment,
        revision=revision,
        model_key="llm",
        engine="llamacpp",
        engine_version="b6123",
        runtime="docker",
        argv=["llama-server", "--ctx-size", "4096"],
    )
