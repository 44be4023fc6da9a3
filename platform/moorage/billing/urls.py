"""Addresses of billing that are not the console's or the REST API's."""

from django.urls import path

from moorage.billing import views

app_name = "billing"
urlpatterns = [path("webhooks/stripe", views.stripe_webhook, name="stripe_webhook")]
