"""What was left behind: the nightly reports, and a look at once."""

from typing import Final

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples, paging
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.deployments import remains, tasks
from moorage.deployments.models import RemainsReport

TAG: Final = "Administrator"
_EXAMPLE: Final = {
    "id": 7,
    "at": "2026-11-22T03:00:04Z",
    "since": "2026-11-21T03:00:02Z",
    "by": "Moorage",
    "is_clean": True,
    "found": [],
    "looked_at": {"containers": 4, "reservations": 4, "socket_directories": 4},
    "problem": "",
}


class OrphanSerializer(serializers.Serializer):
    """Something that was left behind."""

    kind = serializers.CharField(
        help_text="`container`, `reservation`, `socket_directory`, `network`, `volume`, `record`, `route` or `wake`."
    )
    name = serializers.CharField()
    replica_id = serializers.CharField(allow_blank=True)
    found_at = serializers.DateTimeField()
    removed_at = serializers.DateTimeField(allow_null=True, help_text="Null: it is still there; `problem` says why.")
    problem = serializers.CharField(allow_blank=True)


class RemainsReportSerializer(serializers.Serializer[RemainsReport]):
    """What was left behind since the report before."""

    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    since = serializers.DateTimeField()
    by = serializers.CharField(help_text="Moorage every night, or who asked.")
    is_clean = serializers.SerializerMethodField(help_text="Nothing was left behind, and everything was looked at.")
    found = OrphanSerializer(many=True)
    looked_at = serializers.DictField(child=serializers.IntegerField(), help_text="How many of each kind.")
    problem = serializers.CharField(allow_blank=True, help_text="What could not be looked at.")

    def get_is_clean(self, report: RemainsReport) -> bool:
        """Nothing found, nothing unknown."""
        return not report.found and not report.problem


class RemainsView(AdministratorView):
    """The reports."""

    @operation(
        id="listRemains",
        tag=TAG,
        summary="List reports of what was left behind",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The reports, newest first.",
                kind=paging.page_of(RemainsReportSerializer),
                example=examples.page(_EXAMPLE),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """One a night, also when nothing was found: containers, room, sockets, networks, volumes and rows that
        belonged to no replica, when they were found and when they were gone."""
        return paging.page(remains.reports(), order="-id", query=self.query).answer(RemainsReportSerializer)

    @operation(
        id="lookForRemains",
        tag=TAG,
        summary="Look for what was left behind now",
        answers={204: Answer(description="The look is on its way; its report comes into the list.")},
    )
    def post(self, _request: Request) -> Response:
        """Looks at everything now and removes what is left behind. The worker that reaches the runtime does it."""
        tasks.look_for_remains.delay(self.actor.id, self.actor.label)
        return Response(status=204)
