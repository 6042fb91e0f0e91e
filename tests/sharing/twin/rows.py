"""What the rows say: of grants, stores, consents and requests, or all of it as a model."""

from uuid import UUID

from tests.sharing.model.grants import EVERYONE
from tests.sharing.model.parts import Consent, Given, Offer, Placement, Request
from tests.sharing.model.requests import Model
from tests.sharing.twin.services import Served


class Rows(Served):
    """A tenant whose rows are read."""

    async def read_grants(self) -> dict[UUID, tuple[bool, int]]:
        """Which grants have ended, and how often each was used."""
        async with self.office.database.transaction(self.office.ann) as transaction:
            rows = await transaction.fetch("SELECT id, ended_at, uses FROM grants")
        return {row["id"]: (row["ended_at"] is not None, row["uses"]) for row in rows}

    async def read_placed(self) -> dict[tuple[str, str], UUID | None]:
        """Which documents are in which stores, and under which grant."""
        names = {resource.id: name for name, resource in self.things.items()}
        async with self.office.database.transaction(self.office.ann) as transaction:
            rows = await transaction.fetch(
                "SELECT collection_id, document_id, grant_id FROM collection_documents"
            )
        return {
            (names[row["collection_id"]], names[row["document_id"]]): row["grant_id"]
            for row in rows
        }

    async def read_model(self) -> Model:
        """The model that the rows describe."""
        names = {resource.id: name for name, resource in self.things.items()}
        names |= {group: name for name, group in self.groups.items()}
        names |= {member.principal_id: name for name, member in self.people.items()}
        names[self.office.ann.tenant_id] = EVERYONE
        model = self.model.emptied()
        async with self.office.database.transaction(self.office.ann) as transaction:
            grants = await transaction.fetch(
                "SELECT id, resource_id, grantor_id, grantee_id, actions, purpose, not_before, expires_at, max_uses,"
                " fields, parent_id, consent_id, uses, ended_at FROM grants ORDER BY id"
            )
            members = await transaction.fetch("SELECT group_id, user_id FROM group_members")
            placed = await transaction.fetch(
                "SELECT collection_id, document_id, added_by, grant_id FROM collection_documents"
            )
        for row in grants:
            model.grants[row["id"]] = Given(
                names[row["resource_id"]],
                names[row["grantor_id"]],
                names[row["grantee_id"]],
                Offer(
                    frozenset(row["actions"]),
                    row["purpose"],
                    self._hour(row["not_before"]),
                    self._hour(row["expires_at"]),
                    row["max_uses"],
                    None if row["fields"] is None else frozenset(row["fields"]),
                ),
                row["parent_id"],
                row["consent_id"],
                row["uses"],
                row["ended_at"] is not None,
            )
        model.members = {(names[row["group_id"]], names[row["user_id"]]) for row in members}
        model.placed = {
            (names[row["collection_id"]], names[row["document_id"]]): Placement(
                names[row["added_by"]], row["grant_id"]
            )
            for row in placed
        }
        model.trashed, model.hour = self.model.trashed, self.model.hour
        await self._read_agreements(model, names)
        return model

    async def _read_agreements(self, model: Model, names: dict[UUID, str]) -> None:
        """Whom things are about, what was agreed to, and what was asked; of that, what the model knows already."""
        async with self.office.database.transaction(self.office.ann) as transaction:
            about = await transaction.fetch(
                "SELECT id, data_subject_id FROM documents WHERE data_subject_id IS NOT NULL"
                " UNION ALL SELECT id, data_subject_id FROM collections WHERE data_subject_id IS NOT NULL"
                " UNION ALL SELECT id, data_subject_id FROM records WHERE data_subject_id IS NOT NULL"
            )
            consents = await transaction.fetch(
                "SELECT c.id, c.resource_id, c.subject_id, c.purpose, c.valid_until,"
                " array_agg(e.event ORDER BY e.number) AS events"
                " FROM consents AS c JOIN consent_events AS e ON e.consent_id = c.id"
                " GROUP BY c.id ORDER BY c.valid_until NULLS FIRST, c.id"
            )
            requests = await transaction.fetch(
                "SELECT id, asker_id, resource_id, expires_at, state FROM access_requests ORDER BY id"
            )
        model.subjects = {names[row["id"]]: names[row["data_subject_id"]] for row in about}
        for row in consents:
            model.consents[row["id"]] = Consent(
                names[row["resource_id"]],
                names[row["subject_id"]],
                row["purpose"],
                row["events"],
                self._hour(row["valid_until"]) or 0,
            )
        for row in requests:
            known = self.model.requests.get(row["id"])
            model.requests[row["id"]] = Request(
                names[row["asker_id"]],
                names[row["resource_id"]],
                Offer(frozenset({"read"})) if known is None else known.offer,
                self._hour(row["expires_at"]) or 0,
                None if row["state"] == "pending" else row["state"],
            )
