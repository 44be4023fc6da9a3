"""A small twin of Stripe's HTTP API: a real process with customers, invoices, events, idempotency keys and faults."""
