"""Answers requests for the gallery's page, and for the states of generations that can still change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from airflow.utils.session import create_session
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from airflow_kling.api.price_list import PACKS
from airflow_kling.api.routes import route_names
from airflow_kling.plugins.gallery.access import MayReadDag, ReadableDags
from airflow_kling.plugins.gallery.cards import Card, make_card
from airflow_kling.plugins.gallery.chain_queries import find_chains
from airflow_kling.plugins.gallery.chains import Chains
from airflow_kling.plugins.gallery.filters import PAGE_SIZE, read_filters
from airflow_kling.plugins.gallery.html import render
from airflow_kling.plugins.gallery.queries import (
    MAX_IDS,
    find_page,
    find_rows,
    find_spend,
    find_states,
)
from airflow_kling.plugins.gallery.rows import Identity, Row, Spend, TaskStates
from airflow_kling.plugins.gallery.settings import file_roots, max_video_bytes
from airflow_kling.plugins.gallery.status import State, state_of

router = APIRouter(dependencies=[MayReadDag])


@router.get("/gallery")
def gallery(request: Request, readable: ReadableDags) -> HTMLResponse:
    """Answer with a page of generations, the newest first: those of readable DAGs that match the filters."""
    filters = read_filters(request.query_params)
    with create_session(scoped=False) as session:
        rows = find_page(session, filters, readable)
        spend = find_spend(session, filters, readable)
        states = find_states(session, rows)
        chains = find_chains(session, rows, readable)
    # The list of DAGs stays whole, so that another one can be chosen; the totals are those of the chosen one.
    total = _sum([one for one in spend if not filters.dag_id or one.dag_id == filters.dag_id])
    page = render(
        "gallery.html",
        filters=filters,
        cards=_cards(rows, states, chains),
        routes=route_names(),
        spend=spend,
        total=total,
        packs=list(_sum(spend).billed),
        pages=max(1, math.ceil(total.generations / PAGE_SIZE)),
        first=(filters.page - 1) * PAGE_SIZE + 1,
    )
    return HTMLResponse(page, headers={"Cache-Control": "private, no-cache"})


@router.get("/states")
def states(readable: ReadableDags, id: Annotated[list[str], Query(max_length=MAX_IDS)]) -> dict[str, State]:
    """Answer with the states of generations, without those that the user may not read.

    :param id: Kling task ids; several runs can name the same one.
    :return: by the name of the generation, see :attr:`airflow_kling.plugins.gallery.rows.Identity.generation`.
    """
    with create_session(scoped=False) as session:
        rows = find_rows(session, id, readable)
        tasks = find_states(session, rows)
    return {row.identity.generation: _state(row, tasks) for row in rows}


def _cards(rows: Sequence[Row], states: dict[Identity, TaskStates], chains: Chains) -> list[Card]:
    roots, most = file_roots(), max_video_bytes()
    return [make_card(row, _state(row, states), roots, max_video_bytes=most, chains=chains) for row in rows]


def _state(row: Row, states: dict[Identity, TaskStates]) -> State:
    return "archived" if row.archived else state_of(states[row.identity])


def _sum(spend: Sequence[Spend]) -> Spend:
    return Spend(
        "",
        sum(one.generations for one in spend),
        sum(one.archived for one in spend),
        sum(one.images for one in spend),
        sum(one.videos for one in spend),
        {pack: sum(one.units[pack] for one in spend) for pack in PACKS},
    )
