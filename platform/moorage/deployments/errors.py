"""What can be wrong with a deployment.

PlatformError
├── NotFound
│   ├── DeploymentNotFound
│   ├── RevisionNotFound
│   ├── ReplicaNotFound
│   └── UpdateNotFound
├── Conflict
│   ├── ServedNameTaken
│   ├── NoTrial
│   ├── NoUpdate
│   └── BeingDeleted
├── TooManyReading          429: every place for reading along is taken
└── InvalidInput
    └── InvalidName
"""

from moorage.kernel import errors


class DeploymentNotFound(errors.NotFound):
    """There is no deployment of this name in your organization. `GET /api/v1/deployments` lists them."""

    code = "deployment_not_found"


class RevisionNotFound(errors.NotFound):
    """The deployment has no revision of this number. `GET …/revisions` lists them."""

    code = "revision_not_found"


class ReplicaNotFound(errors.NotFound):
    """The deployment has no replica with this id. `GET …/replicas` lists them."""

    code = "replica_not_found"


class UpdateNotFound(errors.NotFound):
    """The deployment has had its first revision only, so nothing was ever updated."""

    code = "update_not_found"


class ServedNameTaken(errors.Conflict):
    """Another deployment of your organization serves a model under this name. Choose another `name`."""

    code = "served_name_taken"


class NoTrial(errors.Conflict):
    """No revision of the deployment is on trial, so there is nothing to promote. `GET` shows what runs."""

    code = "no_trial"


class NoUpdate(errors.Conflict):
    """No update of the deployment is under way that could be taken back. Roll back to a revision by its number."""

    code = "no_update"


class TooManyReading(errors.PlatformError):
    """Your organization follows as many logs as it may at once. Close one, or read the last lines without following."""

    code, status_code, type = "too_many_reading", 429, "invalid_request_error"
    permanent = False


class BeingDeleted(errors.Conflict):
    """The deployment is being deleted. Wait until it is gone, then send the file again."""

    code = "being_deleted"


class InvalidName(errors.InvalidInput):
    """A deployment's name has 1 to 40 characters a–z, 0–9 and hyphens, and begins and ends with a letter or digit."""

    code = "invalid_name"
