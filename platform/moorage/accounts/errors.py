"""What can be wrong with an account.

PlatformError
├── OrganizationSuspended      402: nothing new runs until the bill is settled
├── NotFound
│   └── OrganizationNotFound
├── Conflict
│   ├── SlugTaken
│   ├── EmailTaken
│   └── LastOwner
├── Refused
│   └── RoleTooLow
└── InvalidInput
    └── InvalidAccount
"""

from moorage.kernel import errors


class OrganizationSuspended(errors.PlatformError):
    """The organization is suspended: what runs may be looked at and deleted, nothing may be started. Pay the open
    invoices, or write to the administrator."""

    code, status_code, type = "organization_suspended", 402, "billing_error"


class OrganizationNotFound(errors.NotFound):
    """There is no organization of this name or id. `GET /api/v1/admin/organizations` lists them."""

    code = "organization_not_found"


class SlugTaken(errors.Conflict):
    """This organization name is taken. Choose another."""

    code = "slug_taken"


class EmailTaken(errors.Conflict):
    """There is already an account with this address. Sign in instead."""

    code = "email_taken"


class LastOwner(errors.Conflict):
    """An organization needs at least one owner. Make somebody else an owner first."""

    code = "last_owner"


class RoleTooLow(errors.Refused):
    """Your role in this organization does not allow this. Ask an owner."""

    code = "role_too_low"


class InvalidAccount(errors.InvalidInput):
    """Something in the form is not right. Correct it and send it again."""

    code = "invalid_account"
