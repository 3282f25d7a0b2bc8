"""Verifies one request with the official Python library of Standard Webhooks."""

import base64
import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

request = json.load(sys.stdin)
try:
    Webhook(request["key"]).verify(base64.b64decode(request["body"]), request["headers"])
except WebhookVerificationError as error:
    sys.exit(str(error))
