"""Whether the model hub is there. What does not live here: reading models (`loading`) and tokenizers."""

from huggingface_hub import constants, get_session


def reach_hub() -> None:
    """Ask the hub once whether it is there: the library would ask six times over half a minute. Raises OSError when it is not."""
    try:
        get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
    except Exception as error:
        raise OSError(f"{constants.ENDPOINT} cannot be reached: {error}") from error
