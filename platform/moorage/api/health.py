"""Whether the console and API live, and whether they can answer: for supervisors and load balancers."""

from typing import Final

from django.db import Error as DatabaseError
from django.db import connection
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api.doors import PublicView
from moorage.api.operation import Answer, operation
from moorage.kernel.errors import PlatformError

TAG: Final = "Health"


class NotReady(PlatformError):
    """The database does not answer. Try again in some seconds."""

    code, status_code = "not_ready", 503
    permanent = False


class HealthSerializer(serializers.Serializer):
    """One word."""

    status = serializers.ChoiceField(choices=["ok"])


class HealthView(PublicView):
    """This process."""

    @operation(
        id="getHealth",
        tag=TAG,
        summary="Ask whether the process lives",
        is_public=True,
        answers={200: Answer(description="It does.", kind=HealthSerializer, example={"status": "ok"})},
    )
    def get(self, _request: Request) -> Response:
        """Answers as long as the process answers at all; looks at nothing else."""
        return Response({"status": "ok"})


class ReadinessView(PublicView):
    """This process and its database."""

    @operation(
        id="getReadiness",
        tag=TAG,
        summary="Ask whether requests can be answered",
        is_public=True,
        answers={200: Answer(description="They can.", kind=HealthSerializer, example={"status": "ok"})},
        raises=[NotReady],
    )
    def get(self, _request: Request) -> Response:
        """Asks the database for one row."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except DatabaseError as error:
            raise NotReady from error
        return Response({"status": "ok"})
