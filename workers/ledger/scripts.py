"""The Lua scripts: each change of the ledger is one of them, so each is atomic."""

from importlib import resources

import redis
from redis.commands.core import Script

_FOLDER = "lua"
_PRELUDE = "prelude"


class Scripts:
    """The scripts of ``lua/``, each behind the prelude, ready to be called by name.

    A server that has forgotten a script, because it was restarted, is given it again.
    """

    def __init__(self, connection: redis.Redis) -> None:
        folder = resources.files(__package__) / _FOLDER
        prelude = (folder / f"{_PRELUDE}.lua").read_text("utf-8")
        self._scripts: dict[str, Script] = {}
        for entry in folder.iterdir():
            name = entry.name.removesuffix(".lua")
            if name not in (entry.name, _PRELUDE):
                text = prelude + entry.read_text("utf-8")
                self._scripts[name] = connection.register_script(text)

    def call(self, name: str, *args: str | bytes | float) -> object:
        """Run one script; its keys are the ledger's own, so none are declared.

        A text that ``as_text`` made goes back as the bytes that it was.
        """
        encoded = [
            each.encode(errors="surrogateescape") if isinstance(each, str) else each
            for each in args
        ]
        return self._scripts[name](args=encoded)
