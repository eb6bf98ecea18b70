"""By which index the list is read, for each combination of filters."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, false, select, true

from ...database.models import IdentityClient
from ..attention import AttentionReason
from ..attention_queries import REPEATING, ordered_clients_of
from .filters import Filters, IndexScan, candidates_of, conditions_of, ordered_scans_of
from .order import DEFAULT_SORT, Order


@dataclass(frozen=True, slots=True)
class Plan:
    """By which index a page is read: all that its statements depend on, which are built once for each plan.

    :param index: the filter whose index finds the clients; empty where all clients with a status are read.
    :param is_ordered: whether the index has the clients in the order of client IDs; else all that it finds are sorted.
    """

    filters: Filters
    index: str = ""
    is_ordered: bool = False

    @property
    def others(self) -> frozenset[str]:
        """The filters that the index does not ensure."""
        return self.filters.names - {self.index or "status"}

    @property
    def is_overlapping(self) -> bool:
        """Whether several scans may have the same client."""
        return self.is_ordered and self.index == "roles" and self.filters.roles > 1

    def selects(self, order: Order) -> list[tuple[Select[*tuple[Any, ...]], Any, Any]]:
        """Return for each scan the SELECT with the conditions, and the two columns to order it by."""
        conditions = [condition for name, condition in conditions_of(self.filters).items() if name in self.others]
        selects = []
        for keys, key, client_id_folded in self._scans():
            reads_clients = client_id_folded is None
            statement, order_by = keys, (client_id_folded, key)
            if reads_clients or order.name != DEFAULT_SORT:
                order_by = (order.column, IdentityClient.id)
            if not reads_clients and (order.name != DEFAULT_SORT or conditions):
                statement = keys.join(IdentityClient, IdentityClient.id == key)
            selects.append((statement.where(*conditions), *order_by))
        return selects

    def _scans(self) -> list[IndexScan]:
        if not self.index:
            return _scans_of_all(self.filters.status or ("enabled" if self.filters.attention else ""))
        if not self.is_ordered:
            found = candidates_of(self.filters, self.index)
            repeats = self.index == "attention" and self.filters.attention in REPEATING
            rows = (found.distinct() if repeats else found).subquery()
            return [IndexScan(select(rows.c.client_key), rows.c.client_key, rows.c.client_id_folded)]
        if self.index == "attention":
            ordered = ordered_clients_of(AttentionReason(self.filters.attention))
            key, client_id_folded = ordered.selected_columns
            reads_clients = self.filters.attention == AttentionReason.UNUSED
            return [IndexScan(ordered.with_only_columns(key), key, None if reads_clients else client_id_folded)]
        return ordered_scans_of(self.filters, self.index)


def _scans_of_all(status: str) -> list[IndexScan]:
    """Return the scans of all clients of an account with a status, one for each status if it is empty."""
    wanted = [status == "enabled"] if status else [True, False]
    return [
        IndexScan(
            select(IdentityClient.id.label("client_key")).where(
                IdentityClient.account_id == bindparam("account_id"),
                IdentityClient.enabled == (true() if enabled else false()),
                IdentityClient.deleted_at.is_(None),
            ),
            IdentityClient.id,
        )
        for enabled in wanted
    ]
