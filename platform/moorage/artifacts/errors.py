"""What can go wrong between a reference and verified bytes, one clear sentence each.

PlatformError
├── InvalidInput
│   ├── InvalidReference       what was written is no model reference
│   ├── InvalidCredential      a credential that no registry could take
│   ├── HeaderRefused          a weight file or a neighbour of it breaks the rules of its format
│   └── UnsupportedArtifact    well-formed, but nothing that Moorage can serve
├── NotFound
│   ├── ArtifactNotFound       nothing there under that name
│   └── CredentialNotFound     no stored credential for that host
├── Refused
│   ├── RegistryDenied         the registry wants (other) credentials
│   └── RegistryRefused        our own rules forbid speaking to that address
│       └── PlainHttpRefused   the registry speaks plain HTTP and the operator has not listed it
├── Conflict
│   └── EnvelopeBroken         a stored credential cannot be opened with this installation's key
├── RegistryUnreachable        no answer, or none that makes sense; worth trying again
├── DigestMismatch             the bytes are not those that were named
└── DiskFull                   the node's weight store has no room
"""

from moorage.kernel import errors


class InvalidReference(errors.InvalidInput):
    """That is not a model reference. Write one like ai/smollm2:360M-Q4_K_M or catalog/tiny:latest."""

    code = "invalid_reference"


class InvalidCredential(errors.InvalidInput):
    """A registry credential needs a host, a user name and a secret. Correct it and send it again."""

    code = "invalid_credential"


class HeaderRefused(errors.InvalidInput):
    """A file of the model breaks the rules of its format. Package the model again from its source."""

    code = "header_refused"


class UnsupportedArtifact(errors.InvalidInput):
    """Moorage cannot serve this kind of artifact. Package it as GGUF or safetensors."""

    code = "unsupported_artifact"


class ArtifactNotFound(errors.NotFound):
    """There is no such model. Check the name and the tag."""

    code = "artifact_not_found"


class CredentialNotFound(errors.NotFound):
    """There is no stored credential for that registry."""

    code = "credential_not_found"


class RegistryDenied(errors.Refused):
    """The registry refused access. Add a credential for it to the organization."""

    code = "registry_denied"


class RegistryRefused(errors.Refused):
    """Moorage does not speak to that address. Use a registry with a public address and https."""

    code = "registry_refused"


class PlainHttpRefused(RegistryRefused):
    """The registry speaks plain HTTP. Use https, or ask the operator to list it in MOORAGE_PLAIN_REGISTRIES."""

    code = "plain_http_refused"


class EnvelopeBroken(errors.Conflict):
    """The stored credential cannot be opened with this installation's key. Store the credential again."""

    code = "credential_unreadable"


class RegistryUnreachable(errors.PlatformError):
    """The registry did not answer. Try again in a minute."""

    code, status_code = "registry_unreachable", 502
    permanent = False


class DigestMismatch(errors.PlatformError):
    """The bytes received are not the ones that the digest names. Nothing was kept; push the model again."""

    code, status_code = "digest_mismatch", 502


class DiskFull(errors.PlatformError):
    """The node has no room for this model. Free some space in the weight store and try again."""

    code, status_code = "disk_full", 507
    permanent = False
