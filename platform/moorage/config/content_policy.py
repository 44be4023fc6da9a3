"""What a page of the console may load and where its forms may lead: nothing that is not named here."""


def of_console(*, stripe_url: str | None) -> dict[str, dict[str, list[str]]]:
    """The setting of django-csp. ``stripe_url``: where Stripe is, if not at its own address."""
    return {
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
                *([stripe_url] if stripe_url else []),
            ],
            "base-uri": ["'none'"],
            "frame-ancestors": ["'none'"],
        },
    }
