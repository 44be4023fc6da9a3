"""The WSGI application that gunicorn serves: console and API."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moorage.config.settings")

application = get_wsgi_application()
# Every address is loaded now: what cannot be imported stops the start instead of failing somebody's first request.
assert get_resolver().url_patterns
