"""Keep the jobs: the edge that the API, the completion and the worker share."""

from chalicelib.ledger.dynamo import DynamoLedger

__all__ = ["DynamoLedger"]
