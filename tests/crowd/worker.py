"""A worker with nothing but Python's own library, killed at any moment: `python worker.py URL TOKEN CLIENT_ID LOG`.

It writes a line for every answer that it has had to a report. Now and then it sends a report twice, and checks that it
gets the same answer.
"""

import http.client
import json
import random
import sys
import time

URL, TOKEN, CLIENT, LOG = sys.argv[1:]
HOST, PORT = URL.removeprefix("http://").split(":")
LEASE_SECONDS = 5.0
connection = None


def post(path, body):
    """(status, answer) of a request, sent again while the service is away or busy."""
    global connection
    while True:
        try:
            connection = connection or http.client.HTTPConnection(HOST, int(PORT), timeout=10)
            headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
            connection.request("POST", f"/v1/studies/crowd/{path}", json.dumps(body), headers)
            answer = connection.getresponse()
            status, found = answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            if connection:
                connection.close()
            connection = None
            status, found = 503, None
        if status not in (429, 503):
            return status, found
        time.sleep(random.uniform(0.1, 0.5))


def train(trial, log):
    number, first = trial["number"], trial["resume"]["step"] if trial["resume"] else 0
    for step in range(first + 1, trial["max_steps"] + 1):
        loss = abs(trial["params"]["x"] - 0.3) + 1 / step
        told = {
            "lease": trial["lease"],
            "step": step,
            "metrics": {"loss": loss},
            "checkpoint": {"reference": f"{number}/{step}"},
        }
        status, answer = post(f"trials/{number}:report", told)
        if status == 200 and random.random() < 0.1:
            status, again = post(f"trials/{number}:report", told)
            if status == 200:
                assert again["action"] == answer["action"], (answer, again)
        if status == 409:
            return  # it was lost to another worker
        assert status == 200, (status, answer)
        log.write(json.dumps({"trial": number, "step": step, "action": answer["action"]}) + "\n")
        log.flush()
        if answer["action"] != "continue":
            return


with open(LOG, "a") as log:
    while True:
        status, found = post("trials:suggest", {"client_id": CLIENT, "lease_seconds": LEASE_SECONDS})
        assert status == 200, (status, found)
        if found["done"]:
            break
        for trial in found["trials"]:
            train(trial, log)
        if not found["trials"]:
            time.sleep(found["retry_after_seconds"] or 1.0)
