"""What can be wrong with a deployment.

PlatformError
├── NotFound
│   ├── DeploymentNotFound
│   ├── RevisionNotFound
│   └── ReplicaNotFound
├── Conflict
│   ├── ServedNameTaken
│   └── BeingDeleted
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


class ServedNameTaken(errors.Conflict):
    """Another deployment of your organization serves a model under this name. Choose another `name`."""

    code = "served_name_taken"


class BeingDeleted(errors.Conflict):
    """The deployment is being deleted. Wait until it is gone, then send the file again."""

    code = "being_deleted"


class InvalidName(errors.InvalidInput):
    """A deployment's name has 1 to 40 characters a–z, 0–9 and hyphens, and begins and ends with a letter or digit."""

    code = "invalid_name"
