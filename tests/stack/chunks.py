"""Verifies bodies that are signed chunk by chunk, as the SDK sends streams to S3 where there is no TLS.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

import hashlib
import hmac

EMPTY = hashlib.sha256(b"").hexdigest()


def verify(body, seed, sign):
    """Whether every chunk and the trailer carry the signature that follows from the one before, the first from `seed`.

    `sign` takes the kind of what is signed, and then the lines below the scope.
    """
    view, previous, position, size = memoryview(body), seed, 0, None
    while size != 0:
        end = body.find(b"\r\n", position)
        length, _, signature = body[position:end].partition(b";chunk-signature=")
        try:
            size = int(length, 16)
        except ValueError:
            return False
        start = end + len(b"\r\n")
        chunk = hashlib.sha256(view[start : start + size]).hexdigest()
        previous = sign("AWS4-HMAC-SHA256-PAYLOAD", previous, EMPTY, chunk)
        if end < 0 or not hmac.compare_digest(previous.encode(), signature):
            return False
        position = start + size + (len(b"\r\n") if size else 0)
    trailer, found, signature = body[position:].partition(b"x-amz-trailer-signature:")
    if not found:
        # Then nothing may follow but the end of the last chunk.
        return trailer == b"\r\n"
    trailer = hashlib.sha256(trailer.replace(b"\r\n", b"\n")).hexdigest()
    return hmac.compare_digest(sign("AWS4-HMAC-SHA256-TRAILER", previous, trailer).encode(), signature.strip())
