"""A receiver of webhooks on Flask.

    pip install flask
    export NODUS_WEBHOOK_SECRET=whsec_...       # from the answer to client.webhooks.create()
    python examples/webhook_flask.py

It answers on http://127.0.0.1:8000/nodus; PORT chooses another port. Flask's own server is for trying things out.
"""

import os

from flask import Flask, request

import nodus

app = Flask(__name__)
# These live in one process. With several, keep both where all of them can see them: in Redis, or in your database.
replay_guard = nodus.InMemoryReplayGuard()
handled: set[str] = set()


@app.post("/nodus")
def inbound() -> tuple[str, int]:
    """Verify a delivery, then handle its event once."""
    try:
        event = nodus.construct_event(
            body=request.get_data(),
            signature_header=request.headers.get("Nodus-Signature"),
            signing_secret=os.environ["NODUS_WEBHOOK_SECRET"],
            path="/nodus",  # the path of the URL that you registered, whatever a proxy made of it
            replay_guard=replay_guard,
        )
    except nodus.SignatureError as error:
        return error.code, 401
    except nodus.ValidationError as error:
        return error.code, 400
    if event.id not in handled:
        handle(event)
        handled.add(event.id)  # only now: an event whose handling failed is delivered again
    return "", 204


def handle(event: nodus.WebhookEvent) -> None:
    """Do what has to be done; where it takes longer than a few seconds, put it into a queue and return."""
    if isinstance(event, nodus.JobCompleted):
        print(f"{event.job_id} completed on {event.supplier} for ${event.cost_usd}", flush=True)
    elif isinstance(event, nodus.JobFailed):
        print(f"{event.job_id} failed: {event.error_code}", flush=True)
    elif isinstance(event, nodus.BudgetThresholdReached):
        print(f"${event.month_to_date_usd} of ${event.monthly_spend_cap_usd} are spent", flush=True)
    else:
        print(f"{event.type}: {dict(event.data)}", flush=True)


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
