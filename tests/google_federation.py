"""
Stand in for what Google does with AWS's word: sts.googleapis.com and iamcredentials.googleapis.com.

The exchange is checked as Google and AWS would together: the signed GetCallerIdentity is signed anew with the secret
that AWS knows for its key id, and must come out the same (RFC 8693; google-auth 2.62, google/auth/aws.py).
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from chalicelib.google_key import VERIFICATION_URL
from sandbox.google_auth import GoogleAuth

AUDIENCE: Final = (
    "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/comfysheet/providers/aws"
)
REGION: Final = "eu-central-1"


class Federation:
    """Serve both on 127.0.0.1. *auth* gives out the tokens, which the Sheets endpoint then knows."""

    def __init__(self, auth: GoogleAuth, email: str, aws_keys: dict[str, str]) -> None:
        self.auth, self.email, self.aws_keys = auth, email, aws_keys
        self.refused: list[str] = []
        self._federated: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    status, answer = 200, outer.answer(self.path, body, self.headers.get("Authorization", ""))
                except PermissionError as error:
                    outer.refused.append(str(error))
                    status, answer = 400, {"error": "invalid_grant", "error_description": str(error)}
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Federation:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def configuration(self) -> dict[str, Any]:
        """Write what `gcloud iam workload-identity-pools create-cred-config --aws` writes, for this place."""
        metadata = "http://169.254.169.254/latest"
        return {
            "type": "external_account",
            "audience": AUDIENCE,
            "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
            "token_url": f"{self.url}/v1/token",
            "service_account_impersonation_url": f"{self.url}{self._impersonation}",
            "credential_source": {
                "environment_id": "aws1",
                "region_url": f"{metadata}/meta-data/placement/availability-zone",
                "url": f"{metadata}/meta-data/iam/security-credentials",
                "imdsv2_session_token_url": f"{metadata}/api/token",
                "regional_cred_verification_url": VERIFICATION_URL,
            },
        }

    @property
    def _impersonation(self) -> str:
        return f"/v1/projects/-/serviceAccounts/{self.email}:generateAccessToken"

    def answer(self, path: str, body: bytes, authorization: str) -> dict[str, Any]:
        """Answer one call; raise PermissionError with what is wrong."""
        if path == "/v1/token":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            if form["grant_type"] != "urn:ietf:params:oauth:grant-type:token-exchange" or form["audience"] != AUDIENCE:
                raise PermissionError("not the exchange of this provider")
            self._check(json.loads(unquote(form["subject_token"])))
            token = f"federated-{len(self._federated)}"
            self._federated.add(token)
            kind = "urn:ietf:params:oauth:token-type:access_token"
            return {"access_token": token, "issued_token_type": kind, "token_type": "Bearer", "expires_in": 3600}
        if path != self._impersonation or authorization.removeprefix("Bearer ") not in self._federated:
            raise PermissionError("not this account, or nobody vouched")
        scopes = frozenset(json.loads(body)["scope"])
        return {"accessToken": self.auth.give(self.email, scopes), "expireTime": "2099-01-01T00:00:00Z"}

    def _check(self, signed: dict[str, Any]) -> None:
        headers = {each["key"].lower(): each["value"] for each in signed["headers"]}
        if (signed["url"], signed["method"]) != (VERIFICATION_URL.replace("{region}", REGION), "POST"):
            raise PermissionError("not AWS's GetCallerIdentity")
        if headers["x-goog-cloud-target-resource"] != AUDIENCE:
            raise PermissionError("signed for somebody else")
        given = headers["authorization"]
        key_id = given.split("Credential=")[1].split("/")[0]
        names = given.split("SignedHeaders=")[1].split(",")[0].split(";")
        request = AWSRequest(signed["method"], signed["url"], {name: headers[name] for name in names})
        request.context["timestamp"] = headers["x-amz-date"]
        signer = SigV4Auth(Credentials(key_id, self.aws_keys.get(key_id, "unknown")), "sts", REGION)
        text = signer.string_to_sign(request, signer.canonical_request(request))
        if given.split("Signature=")[1] != signer.signature(text, request):
            raise PermissionError("the signature is not AWS's")
