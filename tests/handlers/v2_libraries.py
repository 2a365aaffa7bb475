"""Asks the official libraries of v2 from PyPI, `svix` and `standardwebhooks`: one JSON object a line in, one list out.

`{"body", "headers", "secret", "now"}` asks whether each library verifies that request at that time, in seconds;
`{"body", "id", "at", "secret"}` asks what each signs it with. The libraries are as their users get them: only their clock
is ours.
"""

import datetime
import json
import sys

import standardwebhooks.webhooks
import svix.webhooks


class Clock(datetime.datetime):
    """The clock that the library reads."""

    standing_at = 0

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(cls.standing_at, tz=tz)


def verifies(library, question):
    try:
        library.verify(question["body"], question["headers"])
    except (standardwebhooks.webhooks.WebhookVerificationError, ValueError):
        # The second one is raised by what has no comma or is not base64; a handler that does not expect it answers 500.
        return False
    return True


def answer(question):
    libraries = [module.Webhook(question["secret"]) for module in (svix.webhooks, standardwebhooks.webhooks)]
    if "headers" in question:
        Clock.standing_at = question["now"]
        # `standardwebhooks` knows the header names of its own standard only.
        names = {name.replace("svix-", "webhook-"): value for name, value in question["headers"].items()}
        asked = zip(libraries, (question["headers"], names))
        return [verifies(library, {**question, "headers": headers}) for library, headers in asked]
    at = datetime.datetime.fromtimestamp(question["at"], tz=datetime.timezone.utc)
    return [library.sign(question["id"], at, question["body"]) for library in libraries]


standardwebhooks.webhooks.datetime = Clock
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))))
