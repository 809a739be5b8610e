"""The address of a server, as a person writes it and as it is kept. What does not live here: asking a server anything (`engines`)."""

from urllib.parse import urlsplit


def base_url(text: str) -> str:
    """The base URL of a server as a person writes it, with or without /v1 and a slash. Raises ValueError when it is none.

    Settings are written into the run, so a secret in a URL is refused, and not said again.
    """
    example = "write it as http://127.0.0.1:8000/v1"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is no URL of a server ({error}); {example}") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            "a URL holds more than an address, a password perhaps, which would be written into the run: give a key by engine.api_key_env"
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{text!r} is no URL of a server; {example}")
    if parts.path.rstrip("/").endswith("/completions"):
        raise ValueError(f"{text!r} is longer than a base URL: end it before /chat/completions or /completions, as a rule at /v1")
    return text.rstrip("/") if parts.path.strip("/") else f"{text.rstrip('/')}/v1"
