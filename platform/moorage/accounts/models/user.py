"""Users: people who sign in, known by their e-mail address."""

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models

from moorage.kernel import clock, ids


def new_user_id() -> str:
    """An id for a user."""
    return ids.new("usr")


class UserManager(BaseUserManager["User"]):
    """Makes users by e-mail address."""

    def create_user(self, email: str, password: str | None = None, *, is_administrator: bool = False) -> "User":
        """A saved user; the address is lower-cased."""
        user = self.model(email=email.strip().lower(), is_administrator=is_administrator)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None) -> "User":
        """An administrator, for ``./manage.py createsuperuser``."""
        return self.create_user(email, password, is_administrator=True)

    def get_by_natural_key(self, username: str | None) -> "User":
        """Addresses are compared lower-cased."""
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser):
    """A person who signs in. An administrator reviews the billing of all organizations."""

    id = models.CharField(primary_key=True, max_length=40, default=new_user_id, editable=False)
    email = models.EmailField(unique=True)
    is_administrator = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now)

    objects = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []

    class Meta:
        db_table = "user"

    def __str__(self) -> str:
        return self.email
