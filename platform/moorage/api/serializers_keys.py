"""API keys, registry credentials and the caller as the API reads and shows them."""

from typing import Any

from rest_framework import serializers

from moorage.accounts.models import ApiKey, Organization, Priority, Scope, Standing
from moorage.api.fields import Fields
from moorage.api.serializers_limits import LimitFields, NetworkFields
from moorage.artifacts.models import RegistryCredential
from moorage.kernel import clock


class NewKeyFields(NetworkFields):
    """What a new key is to be."""

    name = serializers.CharField(max_length=80, help_text="So that you can tell it from others.")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=Scope.choices),
        default=lambda: [Scope.INFERENCE],
        max_length=10,
        help_text="`inference` opens the gateway, `manage` this API.",
    )
    served_names = serializers.ListField(
        child=serializers.CharField(max_length=170),
        default=list,
        max_length=100,
        help_text="Limits the key to these models; empty: all of the organization.",
    )
    expires_at = serializers.DateTimeField(default=None, allow_null=True, help_text="Null: never.")
    limits = LimitFields(default=dict, help_text="What the key may use; left out: no limits of its own.")
    priority = serializers.ChoiceField(
        choices=Priority.choices,
        default=Priority.NORMAL,
        help_text="Its share of the turns among your keys while requests wait for a busy model.",
    )

    def validate_expires_at(self, value: Any) -> Any:
        """A key that has expired already is a mistake."""
        if value is not None and value <= clock.now():
            raise serializers.ValidationError("This moment has passed. Choose a later one, or leave it out.")
        return value


class ApiKeySerializer(serializers.Serializer[ApiKey]):
    """An API key; its secret is stored nowhere."""

    id = serializers.CharField()
    name = serializers.CharField()
    shown = serializers.CharField(help_text="The secret's first characters, to tell keys apart.")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices))
    served_names = serializers.ListField(child=serializers.CharField())
    networks = serializers.ListField(child=serializers.CharField())
    priority = serializers.ChoiceField(choices=Priority.choices)
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To the minute.")


class NewApiKeySerializer(ApiKeySerializer):
    """A key at its making."""

    secret = serializers.CharField(help_text="Shown this once. Keep it.")


class OrganizationSerializer(serializers.Serializer[Organization]):
    """A tenant."""

    id = serializers.CharField()
    slug = serializers.CharField()
    name = serializers.CharField()
    standing = serializers.ChoiceField(choices=Standing.choices)


class WhoamiSerializer(serializers.Serializer):
    """The caller."""

    key = ApiKeySerializer()
    organization = OrganizationSerializer()


class CredentialFields(Fields):
    """A login for a registry. The secret is written and never shown."""

    username = serializers.CharField(max_length=255)
    secret = serializers.CharField(max_length=16 * 1024, trim_whitespace=False, help_text="A password or a token.")


class RegistrySerializer(serializers.Serializer[RegistryCredential]):
    """A registry that the organization can log in to."""

    host = serializers.CharField()
    username = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField(help_text="The id of the person or key.")
