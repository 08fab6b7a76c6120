"""Serves the AWS emulator to the tests, and lets nothing pass that AWS would not have authenticated.

Usage: serve.py ACCESS_KEY SECRET_KEY SESSION_TOKEN REGION ACCOUNT

Prints `listening PORT` once it serves on 127.0.0.1:PORT. Besides these credentials it accepts those that
`PUT /_credentials` brings as JSON, until it says of them that they are expired. Lives as long as its standard input is open:
the harness holds the other end, and the kernel closes that end however the harness dies.
"""

import asyncio
import datetime
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from xml.sax.saxutils import escape

import chunks
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, REGION, ACCOUNT = sys.argv[1:]
# By access key. Those that have expired are known still.
CREDENTIALS = {ACCESS_KEY: Credentials(ACCESS_KEY, SECRET_KEY, SESSION_TOKEN)}
EXPIRED = set()
# Requests that name their operation in a header; everything else is a form (RDS, …) or S3.
TARGETS = {"AmazonSQS": "sqs", "DynamoDB_20120810": "dynamodb"}
# S3 takes bodies whose hash nobody knew in time, …
UNSIGNED_PAYLOADS = ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
# … and those of which every chunk is signed.
SIGNED_CHUNKS = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
MAX_SKEW = datetime.timedelta(minutes=15)
# A path of our own: the body is the URL of a queue whose hidden messages shall come back now.
COME_BACK = "/_stack/come-back"


class Refused(Exception):
    """Carries the code, the message and, unless it is 403, the status of an error of AWS."""


def verify(scope, body):
    """Raises Refused unless the request is signed as AWS wants it signed."""
    headers = HTTPHeaders()  # Case-insensitive; assignment adds.
    for name, value in scope["headers"]:
        headers[name.decode("latin-1")] = value.decode("utf-8", "replace")

    algorithm, _, fields = headers.get("authorization", "").partition(" ")
    if algorithm != "AWS4-HMAC-SHA256":
        raise Refused("MissingAuthenticationToken", "The request carries no AWS4-HMAC-SHA256 authorization.")
    fields = dict(field.strip().partition("=")[::2] for field in fields.split(","))
    signed = fields.get("SignedHeaders", "").split(";")
    timestamp = headers.get("x-amz-date", "")
    access_key, _, credential_scope = fields.get("Credential", "").partition("/")
    service = service_of(headers, credential_scope)

    credentials = CREDENTIALS.get(access_key)
    if credentials is None or headers.get("x-amz-security-token") != credentials.token:
        raise Refused("InvalidClientTokenId", "The access key or the security token is not the stack's.")
    if access_key in EXPIRED:
        code = "ExpiredToken" if service == "s3" else "com.amazon.coral.service#ExpiredTokenException"
        raise Refused(code, "The security token included in the request is expired", 403 if service == "sqs" else 400)
    expected = f"{timestamp[:8]}/{REGION}/{service}/aws4_request"
    if credential_scope != expected:
        raise Refused("SignatureDoesNotMatch", f"Credential should be scoped to {expected}, not {credential_scope}.")
    unsigned = {n.lower() for n in headers if n.lower().startswith("x-amz-")} | {"host"}
    if unsigned := unsigned.difference(signed):
        raise Refused("SignatureDoesNotMatch", f"Headers are not signed: {', '.join(sorted(unsigned))}.")
    try:
        signed_at = datetime.datetime.strptime(timestamp + "+0000", "%Y%m%dT%H%M%SZ%z")
    except ValueError as error:
        raise Refused("SignatureDoesNotMatch", f"X-Amz-Date is wrong: {error}.") from error
    if abs(datetime.datetime.now(datetime.timezone.utc) - signed_at) > MAX_SKEW:
        raise Refused("RequestTimeTooSkewed", f"The request was signed at {timestamp}.")

    # Only S3 wants the hash of the body in a header; all of them want it signed.
    body_hash = hashlib.sha256(body).hexdigest()
    if service != "s3" and "x-amz-content-sha256" not in headers:
        headers["x-amz-content-sha256"] = body_hash
    claimed = headers.get("x-amz-content-sha256", "")
    if claimed != body_hash and not (service == "s3" and claimed in UNSIGNED_PAYLOADS + SIGNED_CHUNKS):
        raise Refused("SignatureDoesNotMatch", f"X-Amz-Content-SHA256 is {claimed!r}, but should be {body_hash!r}.")

    # The path and the query as they came: whatever is decoded here can no longer be told apart.
    raw = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    request = AWSRequest(method=scope["method"], url="http://host" + raw.decode("latin-1"), headers=headers)
    request.context["timestamp"] = timestamp
    auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, REGION)
    # Clients choose which headers to sign; botocore would sign all of them.
    chosen = HTTPHeaders()
    for name in signed:
        for value in headers.get_all(name, []):
            chosen[name] = value
    auth.headers_to_sign = lambda _: chosen
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if not hmac.compare_digest(signature.encode(), fields.get("Signature", "").encode()):
        raise Refused("SignatureDoesNotMatch", "The request signature we calculated does not match yours.")

    def sign(kind, *lines):
        return auth.signature("\n".join([kind, timestamp, credential_scope, *lines]), request)

    if claimed in SIGNED_CHUNKS and not chunks.verify(body, signature, sign):
        raise Refused("SignatureDoesNotMatch", "A signature of a chunk or of the trailer does not match.")


def learn(access_key, secret_key, session_token, expired):
    """Accepts credentials, or calls them expired."""
    CREDENTIALS[access_key] = Credentials(access_key, secret_key, session_token)
    (EXPIRED.add if expired else EXPIRED.discard)(access_key)


def service_of(headers, credential_scope):
    """The service that will answer, told from the request and not from what the signature claims."""
    claimed = (credential_scope.split("/") + ["", ""])[2]
    if target := headers.get("x-amz-target"):
        return TARGETS.get(target.partition(".")[0], claimed)
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return claimed if claimed != "s3" else "a form"
    return "s3"


async def refuse(send, scope, refused):
    """Answers with JSON to SQS and DynamoDB, XML to S3, wrapped XML to forms."""
    code, message, status = (*refused.args, 403)[:3]
    sent = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if "x-amz-target" in sent:
        kind, text = b"application/x-amz-json-1.0", json.dumps({"__type": code, "message": message})
    else:
        error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        text = error if service_of(sent, "") == "s3" else f"<ErrorResponse>{error}</ErrorResponse>"
        kind, text = b"application/xml", f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'
    body = b"" if scope["method"] == "HEAD" else text.encode()
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read(receive):
    """The whole body, or None if the client went away. Joined once: a part has some hundred pieces."""
    pieces, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


def come_back(queue_url):
    """Ends the visibility timeout of a queue's messages at once. The underscored name is the emulator's private one."""
    from ministack.services import sqs

    for message in sqs._queues.get_scoped(ACCOUNT, REGION, queue_url)["messages"]:
        message["visible_at"] = min(message["visible_at"], time.time())


def verified(emulator, port):
    """The emulator behind the check, announcing itself once it has started."""

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":

            async def announce(message):
                await send(message)
                if message["type"] == "lifespan.startup.complete":
                    print("listening", port, flush=True)

            return await emulator(scope, receive, announce)
        if scope["type"] != "http":
            return await send({"type": "websocket.close"})
        body = await read(receive)
        if body is None:
            return None
        if scope["path"] == "/_credentials":
            learn(**json.loads(body))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            return await send({"type": "http.response.body", "body": b""})
        if scope["path"] == COME_BACK:
            come_back(body.decode())
            await send({"type": "http.response.start", "status": 204, "headers": []})
            return await send({"type": "http.response.body", "body": b""})
        try:
            verify(scope, body)
        except Refused as refused:
            return await refuse(send, scope, refused)
        whole = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay():
            return whole.pop() if whole else await receive()

        return await emulator(scope, replay, send)

    return app


def main():
    # The emulator may start children: one group holds them all.
    if os.getpid() != os.getpgrp():
        os.setsid()
    scratch = tempfile.mkdtemp(prefix="stack-")

    def end():
        shutil.rmtree(scratch, ignore_errors=True)
        os.killpg(0, signal.SIGKILL)

    def outlive_nobody():
        while os.read(0, 4096):
            pass
        end()

    threading.Thread(target=outlive_nobody, daemon=True).start()
    try:
        run(scratch)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        end()


def run(scratch):
    """Serves until told to stop."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    # The emulator reads some hundred variables when it is imported: it shall see these and no others.
    path = os.environ.get("PATH", os.defpath)
    os.environ.clear()
    os.environ.update(
        PATH=path,
        HOME=scratch,
        TMPDIR=scratch,
        BIND_HOST="127.0.0.1",
        MINISTACK_HOST="127.0.0.1",
        GATEWAY_PORT=str(port),
        MINISTACK_ACCOUNT_ID=ACCOUNT,
        MINISTACK_REGION=REGION,
        STATE_DIR=f"{scratch}/state",
        S3_DATA_DIR=f"{scratch}/s3",
        # Neither other ports nor anybody's containers.
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        DOCKER_HOST=f"unix://{scratch}/no-docker",
        LOG_LEVEL="WARNING",
    )
    os.chdir(scratch)
    tempfile.tempdir = scratch

    import checksums
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app as emulator

    checksums.install()
    config = Config()
    config.backlog = 1024
    listener.listen(config.backlog)
    config.bind = [f"fd://{listener.detach()}"]
    config.loglevel = "WARNING"
    # Clients keep idle connections longer than hypercorn's 5 s, and a request that meets the close is lost.
    config.keep_alive_timeout = 3600
    asyncio.run(serve(verified(emulator, port), config))


if __name__ == "__main__":
    main()
