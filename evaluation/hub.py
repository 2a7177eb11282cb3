"""The Hugging Face Hub, asked once and briefly before its own client is let loose.

The client retries for half a minute and more when there is no network; a person who
sits on a train wants to know at once, and what would help.
"""

from evaluation.errors import RemoteError


def head(path: str, *, needed_for: str, advice: str) -> int:
    """Status of a HEAD request to the Hub.

    Args:
        path: what follows the endpoint, such as "org/name/resolve/main/file".
        needed_for: what is missing, to begin the message with.
        advice: what else would help, to end the message with.

    Returns: an HTTP status that is 200 to 399, or 404.

    Raises:
        RemoteError: no connection, access refused, or any other status.
    """
    import requests
    from huggingface_hub import constants, get_token

    url = f"{constants.ENDPOINT}/{path}"
    if constants.HF_HUB_OFFLINE:
        message = (
            f"{needed_for}: not on this machine and HF_HUB_OFFLINE is set; unset it, "
            f"or {advice}"
        )
        raise RemoteError(message)
    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        status = requests.head(url, headers=headers, timeout=(5, 10)).status_code
    except requests.RequestException as error:
        message = (
            f"{needed_for}: not on this machine, and {constants.ENDPOINT} cannot be "
            f"reached ({type(error).__name__}); {advice}"
        )
        raise RemoteError(message) from error
    if status in (401, 403):
        message = (
            f"{needed_for}: {url} refuses access ({status}); there is no such "
            "repository, or its terms must be accepted and HF_TOKEN set"
        )
        raise RemoteError(message)
    if status >= 400 and status != 404:
        message = f"{needed_for}: {url} answered {status}; try again later"
        raise RemoteError(message)
    return status
