"""What a tenant demands of its people, and what they have, as the database keeps it."""

from tests.conftest import Member
from undercroft.kit.database import Database


async def demand_factors(database: Database, admin: Member) -> None:
    """Have the tenant ask its people for a second factor."""
    async with database.transaction(admin) as transaction:
        await transaction.execute(
            "INSERT INTO second_factor_demands (tenant_id) VALUES ($1)", admin.tenant_id
        )


async def enrol(database: Database, person: Member, *, confirmed: bool = True) -> None:
    """Give somebody a second factor, under any key that the tenant has."""
    async with database.transaction(person) as transaction:
        await transaction.execute(
            "INSERT INTO second_factors (user_id, tenant_id, data_key_id, sealed_secret, confirmed_at)"
            " SELECT $1, k.tenant_id, k.id, '', CASE WHEN $2 THEN now() END FROM data_keys AS k LIMIT 1",
            person.principal_id,
            confirmed,
        )
