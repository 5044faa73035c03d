"""The verbs `deploy` and `destroy`: bring a whole stage about, and take it away."""

from infra.deploy.verbs import register

__all__ = ["register"]
