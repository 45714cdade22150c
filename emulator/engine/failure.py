"""Why a run failed, in Azure's terms."""

from __future__ import annotations

from emulator.store import Document


class RunFailed(Exception):
    """Ends a run as Failed.

    Attributes:
        code: `UserError` (the submitter can put it right) or `SystemError`.
        component: the service that Azure names as the origin.
        reference: Azure's referenceCode, where it has one.
    """

    def __init__(
        self, code: str, message: str, *, component: str = "CommonRuntime", reference: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.component = component
        self.reference = reference

    def document(self) -> Document:
        """As it is kept with the run."""
        return {"code": self.code, "message": str(self), "component": self.component, "reference": self.reference}

    @classmethod
    def load(cls, document: Document) -> RunFailed:
        """The failure that `document` holds."""
        return cls(
            document["code"], document["message"], component=document["component"], reference=document["reference"]
        )


class RunCanceled(Exception):
    """A run that ended as Canceled."""


def user_error(message: str) -> RunFailed:
    """What the submitter can put right."""
    return RunFailed("UserError", message)


def system_error(message: str) -> RunFailed:
    """What the service has to answer for."""
    return RunFailed("SystemError", message)
