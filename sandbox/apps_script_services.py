"""Be the services around the spreadsheet: locks, properties, cache, session, logs."""

import base64
import hashlib
import json
import threading
from typing import Any, Final

from sandbox.apps_script_host import Face, ScriptFault
from sandbox.apps_script_run import DOCUMENT_LOCKS, Run

MAX_VALUE_BYTES: Final = 9 * 1024
MAX_STORE_BYTES: Final = 500 * 1024
MAX_CACHED_BYTES: Final = 100 * 1024
MAX_CACHE_KEY: Final = 250


class Lock(Face):
    """Be a lock as one execution sees it; it ends with the execution."""

    NAME = "Lock"

    def __init__(self, run: Run, lock: threading.Lock) -> None:
        """Look at *lock*, not held."""
        self._run = run
        self._lock = lock
        self._held = False

    def tryLock(self, timeoutInMillis: int) -> bool:
        """Wait that long at most; true at once when this execution holds it already."""
        self._held = self._held or self._lock.acquire(timeout=max(0.0, timeoutInMillis / 1000))
        return self._held

    def waitLock(self, timeoutInMillis: int) -> None:
        """Wait, or throw."""
        if not self.tryLock(timeoutInMillis):
            raise ScriptFault("Lock timeout: another process was holding the lock for too long.")

    def hasLock(self) -> bool:
        """Say whether this execution holds it."""
        return self._held

    def releaseLock(self) -> None:
        """Let go; nothing happens when it is not held."""
        if self._held:
            self._held = False
            self._lock.release()


class LockService(Face):
    """Give the locks."""

    NAME = "LockService"

    def __init__(self, run: Run) -> None:
        """Serve one execution."""
        self._document = Lock(run, DOCUMENT_LOCKS.of(run.book))

    def getDocumentLock(self) -> Lock:
        """Give the lock that all executions over this spreadsheet share."""
        return self._document

    def _end(self) -> None:
        self._document.releaseLock()


class Properties(Face):
    """Be one store of properties."""

    NAME = "Properties"

    def __init__(self, store: dict[str, str]) -> None:
        """Look at *store*."""
        self._store = store

    def getProperty(self, key: str) -> str | None:
        """Read one; null when there is none."""
        return self._store.get(key)

    def setProperty(self, key: str, value: str) -> "Properties":
        """Write one."""
        size = sum(len(k.encode()) + len(v.encode()) for k, v in self._store.items() if k != key)
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise ScriptFault("Argument too large: value")
        if size + len(key.encode()) + len(value.encode()) > MAX_STORE_BYTES:
            raise ScriptFault(
                "You have exceeded the property storage quota. Please remove some properties and try again."
            )
        self._store[key] = value
        return self

    def getProperties(self) -> dict[str, str]:
        """Read all."""
        return dict(self._store)

    def getKeys(self) -> list[str]:
        """Name all."""
        return list(self._store)

    def setProperties(self, properties: dict, deleteAllOthers: bool = False) -> "Properties":  # type: ignore[type-arg]
        """Write several."""
        if deleteAllOthers:
            self._store.clear()
        for key, value in properties.items():
            self.setProperty(key, str(value))
        return self

    def deleteProperty(self, key: str) -> "Properties":
        """Forget one."""
        self._store.pop(key, None)
        return self

    def deleteAllProperties(self) -> "Properties":
        """Forget all."""
        self._store.clear()
        return self


class PropertiesService(Face):
    """Give the stores."""

    NAME = "PropertiesService"

    def __init__(self, run: Run) -> None:
        """Serve one execution."""
        self._run = run

    def getDocumentProperties(self) -> Properties:
        """Give the store that every user of this spreadsheet shares."""
        return Properties(self._run.properties.document)

    def getScriptProperties(self) -> Properties:
        """Give the script's store."""
        return Properties(self._run.properties.script)

    def getUserProperties(self) -> Properties:
        """Give the store of whoever runs the script."""
        return Properties(self._run.properties.user(self._run.user))


class Cache(Face):
    """Be a cache: nothing in it may be relied on."""

    NAME = "Cache"

    def __init__(self, run: Run, prefix: str) -> None:
        """Look at the entries that begin with *prefix*."""
        self._run = run
        self._prefix = prefix

    def get(self, key: str) -> str | None:
        """Read; null when there is none or it is over."""
        end, value = self._run.cached.get(self._prefix + key, (0.0, ""))
        return value if end > self._run.clock.now() else None

    def put(self, key: str, value: str, expirationInSeconds: int = 600) -> None:
        """Keep *value* for a while, 6 hours at most."""
        if len(key) > MAX_CACHE_KEY:
            raise ScriptFault("Argument too large: key")
        if len(value.encode()) > MAX_CACHED_BYTES:
            raise ScriptFault("Argument too large: value")
        end = self._run.clock.now() + min(expirationInSeconds, 21_600)
        self._run.cached[self._prefix + key] = (end, value)

    def remove(self, key: str) -> None:
        """Forget."""
        self._run.cached.pop(self._prefix + key, None)

    def getAll(self, keys: list) -> dict[str, str]:  # type: ignore[type-arg]
        """Read several; what is not there is left out."""
        found = {str(key): self.get(str(key)) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def putAll(self, values: dict, expirationInSeconds: int = 600) -> None:  # type: ignore[type-arg]
        """Keep several for a while."""
        for key, value in values.items():
            self.put(key, str(value), expirationInSeconds)

    def removeAll(self, keys: list) -> None:  # type: ignore[type-arg]
        """Forget several."""
        for key in keys:
            self.remove(str(key))


class CacheService(Face):
    """Give the caches."""

    NAME = "CacheService"

    def __init__(self, run: Run) -> None:
        """Serve one execution."""
        self._run = run

    def getDocumentCache(self) -> Cache:
        """Give the spreadsheet's cache."""
        return Cache(self._run, "document/")

    def getScriptCache(self) -> Cache:
        """Give the script's cache."""
        return Cache(self._run, "script/")

    def getUserCache(self) -> Cache:
        """Give the user's cache."""
        return Cache(self._run, f"user/{self._run.user}/")


class User(Face):
    """Be whoever runs the script."""

    NAME = "User"

    def __init__(self, email: str) -> None:
        """Be *email*."""
        self._email = email

    def getEmail(self) -> str:
        """Give the address."""
        return self._email


class Session(Face):
    """Say who runs the script, and where."""

    NAME = "Session"

    def __init__(self, run: Run, time_zone: str) -> None:
        """Serve one execution."""
        self._run = run
        self._time_zone = time_zone

    def getActiveUser(self) -> User:
        """Give whoever pressed the menu."""
        return User(self._run.user)

    def getEffectiveUser(self) -> User:
        """Give whose permissions the script has."""
        return User(self._run.user)

    def getActiveUserLocale(self) -> str:
        """Give the language of whoever pressed the menu."""
        return "en"

    def getTemporaryActiveUserKey(self) -> str:
        """Give a key that names the user without saying who it is; Google changes it every 30 days."""
        return base64.b64encode(hashlib.sha256(self._run.user.encode()).digest()).decode()

    def getScriptTimeZone(self) -> str:
        """Give the manifest's time zone."""
        return self._time_zone


class ScriptApp(Face):
    """Say what the script is to Google; here it is nothing."""

    NAME = "ScriptApp"

    def getIdentityToken(self) -> str | None:
        """Give null, as Google does without the openid permission."""
        return None


class Console(Face):
    """Log."""

    NAME = "console"

    def __init__(self, run: Run) -> None:
        """Log into the execution."""
        self._run = run

    def log(self, *values: Any) -> None:
        """Log a line."""
        self._run.execution.logged.append(" ".join(one if isinstance(one, str) else _shown(one) for one in values))

    def info(self, *values: Any) -> None:
        """Log a line."""
        self.log(*values)

    def warn(self, *values: Any) -> None:
        """Log a line."""
        self.log(*values)

    def error(self, *values: Any) -> None:
        """Log a line."""
        self.log(*values)


class Logger(Face):
    """Log the old way."""

    NAME = "Logger"

    def __init__(self, run: Run) -> None:
        """Log into the execution."""
        self._console = Console(run)

    def log(self, data: Any) -> "Logger":
        """Log a line."""
        self._console.log(data)
        return self


def _shown(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
