"""Looks like a vLLM server to those who start it: listens, answers /health, and forks a process that plays the engine core.

Only the standard library, so that it starts at once. `FAKE` in the environment: words that say what it is to do.

    wait=SECONDS    before it answers
    sick=SECONDS    answers 503 until then
    die=SECONDS     exit with code 3 after that time
    words=TEXT      print this first
    deaf            ignores SIGTERM, and so does the engine core
    hang            listens, but never answers
    mute            never listens
"""

import argparse
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if "hang" in wanted:
            time.sleep(60)
        well = time.monotonic() - begun > float(wanted.get("sick", 0))
        self.send_response((200 if well else 503) if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def engine_core():
    """Sleeps until it is killed; an orphan does not notice."""
    while True:
        time.sleep(60)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    wanted = dict(word.partition("=")[::2] for word in os.environ.get("FAKE", "").split(";") if word)
    begun = time.monotonic()
    if "deaf" in wanted:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        engine_core()
    say("INFO 11-24 05:02:11 [core.py:97] Loading the model")
    if "words" in wanted:
        say(wanted["words"].replace("|", "\n"))
    if "die" in wanted:
        threading.Thread(target=lambda: (time.sleep(float(wanted["die"])), os._exit(3)), daemon=True).start()
    time.sleep(float(wanted.get("wait", 0)))
    if "mute" in wanted:
        time.sleep(60)
    say("(APIServer pid=7) INFO 11-24 05:02:12 [launcher.py:43] Starting the server")
    with ThreadingHTTPServer(("127.0.0.1", args.port), Handler) as server:
        server.serve_forever()
    sys.exit()
