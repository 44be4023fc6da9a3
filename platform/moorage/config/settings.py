"""Every setting of the control plane, read once from the environment.

These are the production settings; there are no others. A missing or malformed variable stops the process with a
sentence that says what to set. `./manage.py up` sets all of them; `deploy/environment.sample` documents them.
"""

import hashlib
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from moorage.kernel import currencies

REPOSITORY = Path(__file__).resolve().parents[3]


def _text(name: str, default: str | None = None) -> str:
    value = os.environ.get(name) or default
    if value is None:
        raise ImproperlyConfigured(f"Set {name} in the environment, or start Moorage with `./manage.py up`.")
    return value


def _whole(name: str) -> int | None:
    value = os.environ.get(name)
    if not value:
        return None
    if not value.isdecimal():
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.")
    return int(value)


def _seconds(name: str, default: int) -> int:
    value = _whole(name)
    return default if value is None else value


def _listed(name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in os.environ.get(name, "").split(",") if part.strip())


def _pairs(name: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in _listed(name)]
    if any(not (key and value) for key, _, value in pairs):
        raise ImproperlyConfigured(f"{name} must be a list of name=value, such as default=runc,untrusted=runsc.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _database(url: str) -> dict[str, object]:
    """Django's DATABASES entry for ``postgresql://user:password@host:port/name`` (or ``?host=/socket/dir``)."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ImproperlyConfigured(f"DATABASE_URL must begin with postgresql://, not {parts.scheme}://.")
    query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "moorage",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(query.get("host", parts.hostname or "")),
        "PORT": query.get("port", str(parts.port or "")),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"application_name": "moorage"},
    }


# --- What the platform is ------------------------------------------------------------------------------------------

#: Where an instance keeps its state.
MOORAGE_HOME = Path(_text("MOORAGE_HOME", str(REPOSITORY / ".moorage"))).absolute()
#: Marks this instance's containers among others on the same Engine.
MOORAGE_INSTANCE = _text("MOORAGE_INSTANCE", hashlib.sha256(bytes(MOORAGE_HOME)).hexdigest()[:8])
#: docker | process | memory
MOORAGE_RUNTIME = _text("MOORAGE_RUNTIME", "process")
#: Directories of OCI image layouts, named by ``catalog/<name>:<tag>``.
MOORAGE_CATALOG = Path(_text("MOORAGE_CATALOG", str(REPOSITORY / "runners" / "demo" / "catalog")))
#: The node's content-addressed store of weights.
MOORAGE_STORE = Path(_text("MOORAGE_STORE", str(MOORAGE_HOME / "store")))
#: One directory a replica, with its runner's Unix socket. A socket's path must stay under 108 bytes.
MOORAGE_SOCKET_DIR = Path(_text("MOORAGE_SOCKET_DIR", str(MOORAGE_HOME / "run" / "replicas")))
#: The gateway's journal, which the shipper empties.
MOORAGE_JOURNAL_DIR = Path(_text("MOORAGE_JOURNAL_DIR", str(MOORAGE_HOME / "journal")))
#: Registries (host:port) that may be spoken to over plain HTTP and at private addresses.
MOORAGE_PLAIN_REGISTRIES = frozenset(_listed("MOORAGE_PLAIN_REGISTRIES"))
#: The runner programs of the process runtime.
MOORAGE_LLAMA_SERVER = os.environ.get("MOORAGE_LLAMA_SERVER") or None
MOORAGE_VLLM_PYTHON = os.environ.get("MOORAGE_VLLM_PYTHON") or None
#: The runner images of the Docker runtime.
MOORAGE_LLAMACPP_IMAGE = _text("MOORAGE_LLAMACPP_IMAGE", "moorage/runner-llamacpp:cpu")
MOORAGE_VLLM_IMAGE = _text("MOORAGE_VLLM_IMAGE", "moorage/runner-vllm:cpu")
DOCKER_HOST = os.environ.get("DOCKER_HOST") or None
#: Whether this process may reach the container runtime: the provisioning worker alone.
MOORAGE_HOLDS_RUNTIME = os.environ.get("MOORAGE_HOLDS_RUNTIME") == "1"
#: What an Engine starts containers with, by how far an organization is trusted (fleet/runtime_classes.py).
MOORAGE_RUNTIME_CLASSES = {"default": "runc"} | _pairs("MOORAGE_RUNTIME_CLASSES")
#: What replicas may use of this machine; None: all that the machine has.
MOORAGE_NODE_MEMORY_BYTES = _whole("MOORAGE_NODE_MEMORY_BYTES")
#: A file of nodes that are not there (fleet/declared_pool.py), in the place of this machine or beside it.
MOORAGE_POOL = Path(os.environ["MOORAGE_POOL"]).absolute() if os.environ.get("MOORAGE_POOL") else None
#: Devices are taken from the fullest node that has room, or from the emptiest: pack | spread.
MOORAGE_PLACEMENT = _text("MOORAGE_PLACEMENT", "pack")
if MOORAGE_PLACEMENT not in ("pack", "spread"):
    raise ImproperlyConfigured("MOORAGE_PLACEMENT is pack or spread.")
#: How long a replica that nobody calls stays frozen and then stopped, unless its Compose file says; 0: never, and the
#: longest that a Compose file may ask for.
MOORAGE_SLEEP_FROZEN_SECONDS = _seconds("MOORAGE_SLEEP_FROZEN_SECONDS", 300)
MOORAGE_SLEEP_STOPPED_SECONDS = _seconds("MOORAGE_SLEEP_STOPPED_SECONDS", 3600)
MOORAGE_SLEEP_FROZEN_MOST_SECONDS = _seconds("MOORAGE_SLEEP_FROZEN_MOST_SECONDS", 24 * 3600)
MOORAGE_SLEEP_STOPPED_MOST_SECONDS = _seconds("MOORAGE_SLEEP_STOPPED_MOST_SECONDS", 7 * 24 * 3600)
#: The addresses people and programs use.
MOORAGE_CONSOLE_URL = _text("MOORAGE_CONSOLE_URL", "http://127.0.0.1:8400").rstrip("/")
MOORAGE_GATEWAY_URL = _text("MOORAGE_GATEWAY_URL", "http://127.0.0.1:8401").rstrip("/")
#: Each organization's base URL is <slug>.<domain>; the gateway reads the same setting.
MOORAGE_GATEWAY_DOMAIN = os.environ.get("MOORAGE_GATEWAY_DOMAIN", "").lower().rstrip(".")

#: Payments. Without a Stripe key invoices are paid by bank transfer and an administrator records the payment.
STRIPE_API_KEY = os.environ.get("STRIPE_API_KEY") or None
STRIPE_WEBHOOK_SECRETS = _listed("STRIPE_WEBHOOK_SECRET")
STRIPE_BASE_URL = os.environ.get("STRIPE_BASE_URL") or None
#: The event name of a meter at Stripe that takes usage in micro-dollars; empty: usage is not exported.
MOORAGE_STRIPE_METER = os.environ.get("MOORAGE_STRIPE_METER", "")
#: What a customer has to know to pay by bank transfer, as it is shown to them.
MOORAGE_BANK_DETAILS = os.environ.get("MOORAGE_BANK_DETAILS", "")
#: How many days after its number an unpaid invoice is reminded of, and makes its organization past due and suspended.
MOORAGE_REMINDER_DAYS = tuple(int(days) for days in _listed("MOORAGE_REMINDER_DAYS")) or (7, 14, 21)
MOORAGE_PAST_DUE_DAYS = _whole("MOORAGE_PAST_DUE_DAYS") or 15
MOORAGE_SUSPENDED_DAYS = _whole("MOORAGE_SUSPENDED_DAYS") or 30
#: What a new organization pays in, an ISO 4217 code; an administrator may change it until something is charged.
try:
    MOORAGE_CURRENCY = currencies.parse(_text("MOORAGE_CURRENCY", currencies.USD))
except currencies.CurrencyRefused as _refused:
    raise ImproperlyConfigured(f"MOORAGE_CURRENCY: {_refused.message}") from _refused
#: How a new organization pays: postpaid | prepaid (nothing is served before there is credit).
MOORAGE_BILLING_MODE = _text("MOORAGE_BILLING_MODE", "postpaid")
if MOORAGE_BILLING_MODE not in ("postpaid", "prepaid"):
    raise ImproperlyConfigured("MOORAGE_BILLING_MODE is postpaid or prepaid.")
#: How many seconds a balance has to be used up before replicas are stopped for it.
MOORAGE_EMPTY_SECONDS = _whole("MOORAGE_EMPTY_SECONDS") or 300
#: Invoices above so many cents, and the first of an organization, wait for an administrator's approval.
MOORAGE_REVIEW_ABOVE_CENTS = _whole("MOORAGE_REVIEW_ABOVE_CENTS") or 100_000
MOORAGE_REVIEW_FIRST_INVOICE = _text("MOORAGE_REVIEW_FIRST_INVOICE", "yes") != "no"
#: From so many pico-dollars on, another administrator has to agree to a credit, an adjustment and to giving up an
#: invoice; 0: nobody has to.
MOORAGE_FOUR_EYES_PICO = _whole("MOORAGE_FOUR_EYES_PICO") or 0
#: An invoice is parked for an administrator that comes to more than so many times the highest month of the year and
#: to more than the floor, or that has more lines than these.
MOORAGE_PARK_TIMES = _whole("MOORAGE_PARK_TIMES") or 3
MOORAGE_PARK_FLOOR_CENTS = _whole("MOORAGE_PARK_FLOOR_CENTS") or 10_000
MOORAGE_PARK_LINES = _whole("MOORAGE_PARK_LINES") or 1_000
#: One tax on every invoice, in hundredths of a percent; 0: none.
MOORAGE_TAX_NAME = _text("MOORAGE_TAX_NAME", "VAT")
MOORAGE_TAX_BASIS_POINTS = _whole("MOORAGE_TAX_BASIS_POINTS") or 0
#: Who sends the invoices, and how they want to be paid; lines are parted by a bar.
MOORAGE_SELLER_NAME = _text("MOORAGE_SELLER_NAME", "Moorage")
MOORAGE_SELLER_ADDRESS = os.environ.get("MOORAGE_SELLER_ADDRESS", "")
MOORAGE_SELLER_TAX_ID = os.environ.get("MOORAGE_SELLER_TAX_ID", "")
MOORAGE_SELLER_EMAIL = os.environ.get("MOORAGE_SELLER_EMAIL", "")
MOORAGE_SELLER_PAYMENT = os.environ.get("MOORAGE_SELLER_PAYMENT", "")
#: Mail to owners. Without a server nothing is mailed; the console shows the same.
EMAIL_HOST = os.environ.get("MOORAGE_MAIL_HOST", "")
EMAIL_PORT = _whole("MOORAGE_MAIL_PORT") or 587
EMAIL_HOST_USER = os.environ.get("MOORAGE_MAIL_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("MOORAGE_MAIL_PASSWORD", "")
EMAIL_USE_TLS = _text("MOORAGE_MAIL_TLS", "yes") != "no"
EMAIL_TIMEOUT = 10
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'dummy'}.EmailBackend"
DEFAULT_FROM_EMAIL = _text("MOORAGE_MAIL_FROM", "moorage@localhost")
if STRIPE_API_KEY and not STRIPE_WEBHOOK_SECRETS:
    raise ImproperlyConfigured("Set STRIPE_WEBHOOK_SECRET too: without it anybody could mark an invoice as paid.")

# --- Django --------------------------------------------------------------------------------------------------------

SECRET_KEY = _text("MOORAGE_SECRET_KEY")
#: Key of the envelope around registry credentials, independent of Django's own uses of the secret.
MOORAGE_ENVELOPE_KEY = hashlib.sha256(b"moorage envelope\0" + SECRET_KEY.encode()).digest()

DEBUG = False
_console = urlsplit(MOORAGE_CONSOLE_URL)
ALLOWED_HOSTS = [_console.hostname or "127.0.0.1", *_listed("MOORAGE_ALLOWED_HOSTS")]
CSRF_TRUSTED_ORIGINS = [MOORAGE_CONSOLE_URL]

INSTALLED_APPS = [
    "moorage.accounts",
    "moorage.artifacts",
    "moorage.fleet",
    "moorage.metering",
    "moorage.deployments",
    "moorage.billing",
    "moorage.api",
    "moorage.console",
    "rest_framework",
    "drf_spectacular",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "moorage.api.request_id.RequestIdMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "moorage.config.urls"
WSGI_APPLICATION = "moorage.config.wsgi.application"
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "console:sign_in"
LOGIN_REDIRECT_URL = "console:home"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [REPOSITORY / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "moorage.console.context.console",
            ],
        },
    },
]

DATABASES = {"default": _database(_text("DATABASE_URL"))}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

STATIC_URL = "static/"
STATIC_ROOT = None
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
#: Static files are served from the apps themselves: no collectstatic step between a checkout and a running console.
WHITENOISE_USE_FINDERS = True

_is_https = _console.scheme == "https"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _is_https
SESSION_COOKIE_NAME = "__Host-moorage" if _is_https else f"moorage_{_console.port or 80}"
CSRF_COOKIE_NAME = "__Host-moorage-csrf" if _is_https else f"moorage_csrf_{_console.port or 80}"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SECURE_SSL_REDIRECT = _is_https
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _is_https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _is_https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _is_https else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "font-src": ["'self'"],
        # A form that redirects to the provider's page has to be allowed to.
        "form-action": [
            "'self'",
            "https://checkout.stripe.com",
            "https://billing.stripe.com",
            *([STRIPE_BASE_URL] if STRIPE_BASE_URL else []),
        ],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    },
}
#: A Compose file has its own, smaller limit; this one is for any other body.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
SILENCED_SYSTEM_CHECKS: list[str] = []

# --- REST ----------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["moorage.api.authentication.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "moorage.api.errors.handle",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Moorage",
    "DESCRIPTION": "A Docker Compose file with a models element becomes billed, OpenAI-compatible endpoints.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
}

# --- Celery --------------------------------------------------------------------------------------------------------

CELERY_BROKER_URL = _text("BROKER_URL")
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "moorage.deployments.tasks.*": {"queue": "provision"},
    "moorage.billing.tasks.reconcile_runtime": {"queue": "provision"},
}
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,
    # Instances that share one broker do not take each other's work.
    "global_keyprefix": f"moorage:{MOORAGE_INSTANCE}:",
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
#: The sweeps: work is found here even when every message was lost.
CELERY_BEAT_SCHEDULE = {
    # No expiry: a worker's clock would have to agree with beat's. What has piled up is one statement each, because a
    # sweep that is not due is none (deployments/sweep_turns.py).
    name: {"task": task, "schedule": seconds, "options": {"headers": {"every": seconds}}}
    for name, task, seconds in [
        ("sweep-deployments", "moorage.deployments.tasks.sweep", 5.0),
        ("reap-orphans", "moorage.deployments.tasks.reap_orphans", 20.0),
        ("report-remains", "moorage.deployments.tasks.report_remains", 300.0),
        ("check-vitality", "moorage.deployments.tasks.check_vitality", 5.0),
        ("meter-replicas", "moorage.deployments.tasks.meter_replicas", 10.0),
        ("forget-history", "moorage.deployments.tasks.forget_history", 600.0),
        ("rate-usage", "moorage.billing.tasks.rate", 2.0),
        ("run-billing", "moorage.billing.tasks.sweep", 30.0),
        ("reconcile", "moorage.billing.tasks.reconcile", 15.0),
        ("watch-usage", "moorage.billing.tasks.watch_usage", 60.0),
        ("reconcile-runtime", "moorage.billing.tasks.reconcile_runtime", 15.0),
    ]
}

# --- Logs: one event a line, key=value -----------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": _text("MOORAGE_LOG_LEVEL", "INFO")},
    "loggers": {
        name: {"level": "WARNING"}
        # Each announces what our own lines say better, several times a second.
        for name in ("httpx", "httpcore", "celery.app.trace", "celery.worker.strategy", "stripe")
    }
    # Tells of every table of every font that a PDF takes its glyphs from.
    | {"fontTools": {"level": "ERROR"}},
}
