"""The pages: for the author of an image, "is it there yet, and if not, why?".

``pages.py`` asks the ledger and renders; ``view.py`` and ``words.py`` decide what is
shown; ``signin.py`` is the operator's form. Pages work without JavaScript; with it they
follow the JSON of the API by asking now and then, and hold no connection open.
"""

from webhook.dashboard.pages import blueprint

__all__ = ["blueprint"]
