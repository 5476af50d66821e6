from __future__ import annotations

import pytest
from pydantic import ValidationError

from isrf_pipeline.config.settings import ReasoningUsers

IDENTITIES = [
    *("email", "first_name", "nom", "login", "contact", "tel", "dob", "ssn"),
    *("client_id", "clientId", "userid", "userID", "customer_no", "client_number"),
    *("date_of_birth", "birthDate"),
]


@pytest.mark.parametrize("name", IDENTITIES)
def test_attributes_that_tell_who_somebody_is_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} reads like an identity"):
        ReasoningUsers(attributes=["country", name])


def test_others_are_allowed() -> None:
    allowed = ["country", "tier", "birth_year", "language", "tournament", "city", "paid", "segment"]
    assert ReasoningUsers(attributes=allowed).attributes == allowed
