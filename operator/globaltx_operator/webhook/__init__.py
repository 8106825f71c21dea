"""The admission webhook, served by every replica of the operator."""

from globaltx_operator.webhook.options import WebhookOptions
from globaltx_operator.webhook.serve import run_webhook

__all__ = ["WebhookOptions", "run_webhook"]
