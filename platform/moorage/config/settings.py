"""Every setting of the control plane, read once from the environment.

These are the production settings; there are no others. A missing or malformed variable stops the process with a
sentence that says what to set. `./manage.py up` sets all of them; `deploy/environment.sample` documents them.
"""

import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from moorage.config import beat, content_policy
from moorage.config.variables import Variables, database
from moorage.kernel import currencies

REPOSITORY = Path(__file__).resolve().parents[3]


_env = Variables(os.environ)

# --- What the platform is ------------------------------------------------------------------------------------------

#: Where an instance keeps its state.
MOORAGE_HOME = Path(_env.text("MOORAGE_HOME", str(REPOSITORY / ".moorage"))).absolute()
#: Marks this instance's containers among others on the same Engine.
MOORAGE_INSTANCE = _env.text("MOORAGE_INSTANCE", hashlib.sha256(bytes(MOORAGE_HOME)).hexdigest()[:8])
#: docker | process | memory
MOORAGE_RUNTIME = _env.text("MOORAGE_RUNTIME", "process")
#: Directories of OCI image layouts, named by ``catalog/<name>:<tag>``.
MOORAGE_CATALOG = Path(_env.text("MOORAGE_CATALOG", str(REPOSITORY / "runners" / "demo" / "catalog")))
#: The node's content-addressed store of weights.
MOORAGE_STORE = Path(_env.text("MOORAGE_STORE", str(MOORAGE_HOME / "store")))
#: One directory a replica, with its runner's Unix socket. A socket's path must stay under 108 bytes.
MOORAGE_SOCKET_DIR = Path(_env.text("MOORAGE_SOCKET_DIR", str(MOORAGE_HOME / "run" / "replicas")))
#: The gateway's journal, which the shipper empties.
MOORAGE_JOURNAL_DIR = Path(_env.text("MOORAGE_JOURNAL_DIR", str(MOORAGE_HOME / "journal")))
#: Registries (host:port) that may be spoken to over plain HTTP and at private addresses.
MOORAGE_PLAIN_REGISTRIES = frozenset(_env.listed("MOORAGE_PLAIN_REGISTRIES"))
#: The runner programs of the process runtime.
MOORAGE_LLAMA_SERVER = os.environ.get("MOORAGE_LLAMA_SERVER") or None
MOORAGE_VLLM_PYTHON = os.environ.get("MOORAGE_VLLM_PYTHON") or None
#: The runner images of the Docker runtime.
MOORAGE_LLAMACPP_IMAGE = _env.text("MOORAGE_LLAMACPP_IMAGE", "moorage/runner-llamacpp:cpu")
MOORAGE_VLLM_IMAGE = _env.text("MOORAGE_VLLM_IMAGE", "moorage/runner-vllm:cpu")
DOCKER_HOST = os.environ.get("DOCKER_HOST") or None
#: Whether this process may reach the container runtime: the provisioning worker alone.
MOORAGE_HOLDS_RUNTIME = os.environ.get("MOORAGE_HOLDS_RUNTIME") == "1"
#: What an Engine starts containers with, by how far an organization is trusted (fleet/runtime_classes.py).
MOORAGE_RUNTIME_CLASSES = {"default": "runc"} | _env.pairs("MOORAGE_RUNTIME_CLASSES")
#: What replicas may use of this machine; None: all that the machine has.
MOORAGE_NODE_MEMORY_BYTES = _env.whole("MOORAGE_NODE_MEMORY_BYTES")
#: A file of nodes that are not there (fleet/declared_pool.py), in the place of this machine or beside it.
MOORAGE_POOL = Path(os.environ["MOORAGE_POOL"]).absolute() if os.environ.get("MOORAGE_POOL") else None
#: Devices are taken from the fullest node that has room, or from the emptiest: pack | spread.
MOORAGE_PLACEMENT = _env.text("MOORAGE_PLACEMENT", "pack")
if MOORAGE_PLACEMENT not in ("pack", "spread"):
    raise ImproperlyConfigured("MOORAGE_PLACEMENT is pack or spread.")
#: How long the eldest of those who wait does so before it goes before larger ones and a node is kept for it.
MOORAGE_PLACEMENT_PATIENCE_SECONDS = _env.seconds("MOORAGE_PLACEMENT_PATIENCE_SECONDS", 18 * 3600)
#: How long a replica that nobody calls stays frozen and then stopped, unless its Compose file says; 0: never, and the
#: longest that a Compose file may ask for.
MOORAGE_SLEEP_FROZEN_SECONDS = _env.seconds("MOORAGE_SLEEP_FROZEN_SECONDS", 300)
MOORAGE_SLEEP_STOPPED_SECONDS = _env.seconds("MOORAGE_SLEEP_STOPPED_SECONDS", 3600)
MOORAGE_SLEEP_FROZEN_MOST_SECONDS = _env.seconds("MOORAGE_SLEEP_FROZEN_MOST_SECONDS", 24 * 3600)
MOORAGE_SLEEP_STOPPED_MOST_SECONDS = _env.seconds("MOORAGE_SLEEP_STOPPED_MOST_SECONDS", 7 * 24 * 3600)
#: The addresses people and programs use.
MOORAGE_CONSOLE_URL = _env.text("MOORAGE_CONSOLE_URL", "http://127.0.0.1:8400").rstrip("/")
MOORAGE_GATEWAY_URL = _env.text("MOORAGE_GATEWAY_URL", "http://127.0.0.1:8401").rstrip("/")
#: Each organization's base URL is <slug>.<domain>; the gateway reads the same setting.
MOORAGE_GATEWAY_DOMAIN = os.environ.get("MOORAGE_GATEWAY_DOMAIN", "").lower().rstrip(".")

#: Payments. Without a Stripe key invoices are paid by bank transfer and an administrator records the payment.
STRIPE_API_KEY = os.environ.get("STRIPE_API_KEY") or None
STRIPE_WEBHOOK_SECRETS = _env.listed("STRIPE_WEBHOOK_SECRET")
STRIPE_BASE_URL = os.environ.get("STRIPE_BASE_URL") or None
#: The event name of a meter at Stripe that takes usage in micro-dollars; empty: usage is not exported.
MOORAGE_STRIPE_METER = os.environ.get("MOORAGE_STRIPE_METER", "")
#: What a customer has to know to pay by bank transfer, as it is shown to them.
MOORAGE_BANK_DETAILS = os.environ.get("MOORAGE_BANK_DETAILS", "")
#: How many days after its number an unpaid invoice is reminded of, and makes its organization past due and suspended.
MOORAGE_REMINDER_DAYS = tuple(int(days) for days in _env.listed("MOORAGE_REMINDER_DAYS")) or (7, 14, 21)
MOORAGE_PAST_DUE_DAYS = _env.whole("MOORAGE_PAST_DUE_DAYS") or 15
MOORAGE_SUSPENDED_DAYS = _env.whole("MOORAGE_SUSPENDED_DAYS") or 30
#: What a new organization pays in, an ISO 4217 code; an administrator may change it until something is charged.
try:
    MOORAGE_CURRENCY = currencies.parse(_env.text("MOORAGE_CURRENCY", currencies.USD))
except currencies.CurrencyRefused as _refused:
    raise ImproperlyConfigured(f"MOORAGE_CURRENCY: {_refused.message}") from _refused
#: How a new organization pays: postpaid | prepaid (nothing is served before there is credit).
MOORAGE_BILLING_MODE = _env.text("MOORAGE_BILLING_MODE", "postpaid")
if MOORAGE_BILLING_MODE not in ("postpaid", "prepaid"):
    raise ImproperlyConfigured("MOORAGE_BILLING_MODE is postpaid or prepaid.")
#: How many seconds a balance has to be used up before replicas are stopped for it.
MOORAGE_EMPTY_SECONDS = _env.whole("MOORAGE_EMPTY_SECONDS") or 300
#: Invoices above so many cents, and the first of an organization, wait for an administrator's approval.
MOORAGE_REVIEW_ABOVE_CENTS = _env.whole("MOORAGE_REVIEW_ABOVE_CENTS") or 100_000
MOORAGE_REVIEW_FIRST_INVOICE = _env.text("MOORAGE_REVIEW_FIRST_INVOICE", "yes") != "no"
#: From so many pico-dollars on, another administrator has to agree to a credit, an adjustment and to giving up an
#: invoice; 0: nobody has to.
MOORAGE_FOUR_EYES_PICO = _env.whole("MOORAGE_FOUR_EYES_PICO") or 0
#: An invoice is parked for an administrator that comes to more than so many times the highest month of the year and
#: to more than the floor, or that has more lines than these.
MOORAGE_PARK_TIMES = _env.whole("MOORAGE_PARK_TIMES") or 3
MOORAGE_PARK_FLOOR_CENTS = _env.whole("MOORAGE_PARK_FLOOR_CENTS") or 10_000
MOORAGE_PARK_LINES = _env.whole("MOORAGE_PARK_LINES") or 1_000
#: One tax on every invoice, in hundredths of a percent; 0: none.
MOORAGE_TAX_NAME = _env.text("MOORAGE_TAX_NAME", "VAT")
MOORAGE_TAX_BASIS_POINTS = _env.whole("MOORAGE_TAX_BASIS_POINTS") or 0
#: Who sends the invoices, and how they want to be paid; lines are parted by a bar.
MOORAGE_SELLER_NAME = _env.text("MOORAGE_SELLER_NAME", "Moorage")
MOORAGE_SELLER_ADDRESS = os.environ.get("MOORAGE_SELLER_ADDRESS", "")
MOORAGE_SELLER_TAX_ID = os.environ.get("MOORAGE_SELLER_TAX_ID", "")
MOORAGE_SELLER_EMAIL = os.environ.get("MOORAGE_SELLER_EMAIL", "")
MOORAGE_SELLER_PAYMENT = os.environ.get("MOORAGE_SELLER_PAYMENT", "")
#: Mail to owners. Without a server nothing is mailed; the console shows the same.
EMAIL_HOST = os.environ.get("MOORAGE_MAIL_HOST", "")
EMAIL_PORT = _env.whole("MOORAGE_MAIL_PORT") or 587
EMAIL_HOST_USER = os.environ.get("MOORAGE_MAIL_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("MOORAGE_MAIL_PASSWORD", "")
EMAIL_USE_TLS = _env.text("MOORAGE_MAIL_TLS", "yes") != "no"
EMAIL_TIMEOUT = 10
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'dummy'}.EmailBackend"
DEFAULT_FROM_EMAIL = _env.text("MOORAGE_MAIL_FROM", "moorage@localhost")
if STRIPE_API_KEY and not STRIPE_WEBHOOK_SECRETS:
    raise ImproperlyConfigured("Set STRIPE_WEBHOOK_SECRET too: without it anybody could mark an invoice as paid.")

# --- Django --------------------------------------------------------------------------------------------------------

SECRET_KEY = _env.text("MOORAGE_SECRET_KEY")
#: Key of the envelope around registry credentials, independent of Django's own uses of the secret.
MOORAGE_ENVELOPE_KEY = hashlib.sha256(b"moorage envelope\0" + SECRET_KEY.encode()).digest()

DEBUG = False
_console = urlsplit(MOORAGE_CONSOLE_URL)
ALLOWED_HOSTS = [_console.hostname or "127.0.0.1", *_env.listed("MOORAGE_ALLOWED_HOSTS")]
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

DATABASES = {"default": database(_env.text("DATABASE_URL"))}

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
CONTENT_SECURITY_POLICY = content_policy.of_console(stripe_url=STRIPE_BASE_URL)
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

CELERY_BROKER_URL = _env.text("BROKER_URL")
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
CELERY_BEAT_SCHEDULE = beat.SCHEDULE
#: Without a file that remembers when a sweep last ran: by a clock that was put back since, it would say "in an hour".
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"

# --- Logs: one event a line, key=value -----------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": _env.text("MOORAGE_LOG_LEVEL", "INFO")},
    "loggers": {
        name: {"level": "WARNING"}
        # Each announces what our own lines say better, several times a second.
        for name in ("httpx", "httpcore", "celery.app.trace", "celery.worker.strategy", "stripe")
    }
    # Tells of every table of every font that a PDF takes its glyphs from.
    | {"fontTools": {"level": "ERROR"}},
}
