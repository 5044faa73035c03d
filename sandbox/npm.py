"""Install the page's one library from npm's registry; see infra/npm.py."""

from infra.npm import NpmFailed, install

__all__ = ["NpmFailed", "install"]
