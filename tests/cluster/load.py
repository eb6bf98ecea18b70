"""A moderate load of tokens, screens and the management API through the proxy; all responses are counted."""

import itertools
import json
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import urllib3

from webapp.core.secrets.generation import generate_secret

from .cluster import EMAIL, HTTPS_PORT, NAME, PASSWORD, ProxyAddress

CLIENTS = "/administration/identity-clients"
API = "/api/identity-clients/v1"
GRANTED_ROLE = "MerchantUser"
MANAGER_ROLES = ("ManageIdentityClients", GRANTED_ROLE)
TOKEN_WORKERS, TOKEN_SECONDS = 4, 0.125
SCREEN_WORKERS, SCREEN_SECONDS = 2, 0.5
API_SECONDS = 0.5
WRONG_SECRET_SECONDS = 0.5
SIGN_IN_EVERY = 10
RETRY_AFTER_SECONDS = 5
GIVEN_UP_SECONDS = 30
SLOW_SECONDS = 5
RESTART_SECONDS = 20
"""How long a response may take that waits for a process to start, on a machine that runs all hosts."""


@dataclass(frozen=True, slots=True)
class Client:
    """An identity client whose creation was acknowledged."""

    client_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class Callers:
    """The clients that a load uses.

    :param clients: request tokens in turn.
    :param manager: calls the management API.
    """

    clients: list[Client]
    manager: Client


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to one request.

    :param kind: `token`, `wrong secret`, `screen`, `create`, `API` or `API create`.
    :param status: 0 without a response.
    :param detail: text that explains an unexpected response.
    """

    kind: str
    began: float
    ended: float
    status: int
    is_success: bool
    says_when: bool
    detail: str = ""

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.ended - self.began

    @property
    def is_allowed(self) -> bool:
        """Whether it is allowed during a fault: as expected, or 503 with `Retry-After`."""
        return self.is_success or (self.status == 503 and self.says_when)


class Caller:
    """One connection to a reverse proxy, like an integration's or a browser's."""

    def __init__(self, proxy: ProxyAddress) -> None:
        self._pool = urllib3.HTTPSConnectionPool(
            proxy.address,
            HTTPS_PORT,
            maxsize=1,
            ca_certs=str(proxy.ca),
            assert_hostname=NAME,
            server_hostname=NAME,
            timeout=urllib3.Timeout(GIVEN_UP_SECONDS),
            retries=False,
        )
        self._cookie = ""

    def request(self, path: str, form: Mapping[str, str | Sequence[str]] | None = None) -> urllib3.BaseHTTPResponse:
        """Send a GET, or a POST of a form, with the cookie that was set before."""
        body, sent = None, {"Host": NAME}
        if self._cookie:
            sent["Cookie"] = self._cookie
        if form is not None:
            body = urlencode(form, doseq=True)
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        return self.send("GET" if body is None else "POST", path, body, sent)

    def call(self, token: str, path: str, body: Mapping[str, Any] | None = None) -> urllib3.BaseHTTPResponse:
        """Send a GET, or a POST of JSON, to the management API."""
        sent = {"Host": NAME, "Authorization": f"Bearer {token}"}
        if body is None:
            return self.send("GET", f"{API}{path}", None, sent)
        sent |= {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        return self.send("POST", f"{API}{path}", json.dumps(body), sent)

    def send(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Send a request, and keep the cookie that its response sets."""
        answer = self._pool.request(method, path, body, headers=headers, redirect=False)
        if cookie := answer.headers.get("Set-Cookie"):
            self._cookie = cookie.partition(";")[0]
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()


def token_form(client: Client) -> dict[str, str]:
    """Return the parameters of a token request."""
    return {
        "grant_type": "client_credentials",
        "client_id": client.client_id,
        "client_secret": client.secret,
    }


@dataclass
class Load:
    """The load within the block.

    :ivar created: clients whose creation was acknowledged.
    :ivar tokens: all tokens that were issued.
    """

    proxy: ProxyAddress
    callers: Callers
    answers: list[Answer] = field(default_factory=list)
    created: list[Client] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        tasks = [self._create] * SCREEN_WORKERS + [self._ask_for_tokens] * TOKEN_WORKERS + [self._guess, self._manage]
        self._threads = [threading.Thread(target=task) for task in tasks]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    # Results

    def successes(self, kind: str) -> list[float]:
        """Return the end times of the expected responses to this kind of request, in order."""
        return sorted(answer.ended for answer in list(self.answers) if answer.kind == kind and answer.is_success)

    def has_succeeded_since(self, at: float) -> bool:
        """Return whether each kind of request has had an expected response after this time."""
        kinds = {answer.kind for answer in list(self.answers)}
        return all(any(ended > at for ended in self.successes(kind)[-1:]) for kind in kinds)

    def first_token_after(self, at: float) -> float:
        """Return the seconds from this time to the first token; infinity if there is none."""
        return next((ended - at for ended in self.successes("token") if ended >= at), float("inf"))

    def longest_outage(self, kind: str) -> float:
        """Return the longest time in seconds without an expected response to this kind of request."""
        return max((after - before for before, after in itertools.pairwise(self.successes(kind))), default=float("inf"))

    def slowest(self) -> float:
        """Return the duration of the slowest response in seconds."""
        return max(answer.seconds for answer in self.answers)

    def statuses(self) -> Counter[int]:
        """Return the number of responses by status; 0 stands for no response."""
        return Counter(answer.status for answer in self.answers)

    def refused(self, *, may_be_busy: bool = True) -> Counter[str]:
        """Return the number of responses of each kind that are not allowed.

        :param may_be_busy: whether 503 with `Retry-After` is allowed.
        """
        return Counter(
            f"{answer.kind}: {answer.status} {answer.detail}"
            for answer in self.answers
            if not (answer.is_allowed if may_be_busy else answer.is_success)
        )

    # Workers

    def _ask_for_tokens(self) -> None:
        def one(caller: Caller) -> None:
            client = next(clients)
            answer = self._ask(caller, "token", {200}, "/connect/token", token_form(client))
            if answer is not None and answer.status == 200:
                self.tokens.append(answer.json()["access_token"])

        clients = itertools.cycle(self.callers.clients)
        self._repeat(one, TOKEN_SECONDS)

    def _guess(self) -> None:
        def one(caller: Caller) -> None:
            # Each with another client ID, so that no rate limit applies.
            client = Client(f"unknown-{uuid.uuid4().hex}", self.callers.clients[0].secret)
            self._ask(caller, "wrong secret", {401}, "/connect/token", token_form(client))

        self._repeat(one, WRONG_SECRET_SECONDS)

    def _manage(self) -> None:
        token = ""

        def one(caller: Caller) -> None:
            nonlocal token
            if not token:
                answer = self._ask(caller, "token", {200}, "/connect/token", token_form(self.callers.manager))
                token = answer.json()["access_token"] if answer is not None else ""
                return
            self._count("API", {200}, lambda: caller.call(token, "/clients"))
            # A proxy may repeat the request, and the response to a repeated one has no generated secret.
            client = Client(f"client-{uuid.uuid4().hex}", generate_secret("load_").reveal())
            body = {
                "client_id": client.client_id,
                "client_secret": client.secret,
                "token_duration_minutes": 10,
                "roles": [GRANTED_ROLE],
            }
            if self._count("API create", {201}, lambda: caller.call(token, "/clients", body)) is not None:
                self.created.append(client)

        self._repeat(one, API_SECONDS)

    def _create(self) -> None:
        rounds = itertools.count()
        is_signed_in = False

        def one(caller: Caller) -> None:
            nonlocal is_signed_in
            if not is_signed_in or next(rounds) % SIGN_IN_EVERY == 0:
                is_signed_in = self._sign_in(caller) or is_signed_in
            if not is_signed_in or self._ask(caller, "screen", {200}, CLIENTS) is None:
                return
            page = self._ask(caller, "screen", {200}, f"{CLIENTS}/new")
            if page is None:
                return
            form = fields(page.data.decode(), "client_id") | {"client_id": f"client-{uuid.uuid4().hex}"}
            # 409: a proxy has repeated the request, and the response to the first one is lost.
            answer = self._ask(caller, "create", {200, 201, 409}, f"{CLIENTS}/new", form)
            if answer is not None:
                assert form["client_id"] in answer.data.decode()
                self.created.append(Client(form["client_id"], form["client_secret"]))

        self._repeat(one, SCREEN_SECONDS)

    def _sign_in(self, caller: Caller) -> bool:
        page = self._ask(caller, "screen", {200}, "/login")
        if page is None:
            return False
        form = fields(page.data.decode(), "email") | {"email": EMAIL, "password": PASSWORD}
        if self._ask(caller, "screen", {303}, "/login", form) is None:
            self._stop.wait(RETRY_AFTER_SECONDS)  # as a person does, who is limited after five failures
            return False
        return True

    def _repeat(self, one: Callable[[Caller], None], seconds: float) -> None:
        caller = Caller(self.proxy)
        while not self._stop.is_set():
            began = time.monotonic()
            one(caller)
            self._stop.wait(max(0.02, began + seconds - time.monotonic()))
        caller.close()

    def _ask(
        self, caller: Caller, kind: str, expected: Iterable[int], path: str, form: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse | None:
        return self._count(kind, expected, lambda: caller.request(path, form))

    def _count(
        self, kind: str, expected: Iterable[int], send: Callable[[], urllib3.BaseHTTPResponse]
    ) -> urllib3.BaseHTTPResponse | None:
        """Send a request and count its response; return it if it is an expected one."""
        began = time.monotonic()
        try:
            answer = send()
        except urllib3.exceptions.HTTPError as error:
            self.answers.append(Answer(kind, began, time.monotonic(), 0, False, False, type(error).__name__))
            return None
        is_success, says_when = answer.status in expected, "Retry-After" in answer.headers
        detail = "" if is_success else re.sub(r"[0-9a-f]{8,}", "...", _gist(answer.data.decode()))
        self.answers.append(Answer(kind, began, time.monotonic(), answer.status, is_success, says_when, detail))
        return answer if is_success else None


def make_callers(proxy: ProxyAddress, number: int) -> Callers:
    """Allow the management API, and create a client that calls it and a number of others, on the screens."""
    caller = Caller(proxy)
    sign_in = fields(caller.request("/login").data.decode(), "email") | {"email": EMAIL, "password": PASSWORD}
    assert caller.request("/login", sign_in).status == 303
    settings = fields(caller.request(f"{CLIENTS}/settings").data.decode(), "management_api")
    assert caller.request(f"{CLIENTS}/settings", settings | {"management_api": "y"}).status == 303
    made = []
    for roles in [MANAGER_ROLES, *[(GRANTED_ROLE,)] * number]:
        form: dict[str, str | Sequence[str]] = {**fields(caller.request(f"{CLIENTS}/new").data.decode(), "client_id")}
        made.append(Client(f"client-{uuid.uuid4().hex}", str(form["client_secret"])))
        answer = caller.request(f"{CLIENTS}/new", form | {"client_id": made[-1].client_id, "roles": roles})
        assert answer.status in (200, 201), answer.data
    caller.close()
    return Callers(made[1:], made[0])


def _gist(body: str) -> str:
    title = re.search(r"<title>([^<]*)", body)
    return title[1] if title else body[:80]


def fields(page: str, name: str) -> dict[str, str]:
    """Return the fields that a browser sends of the form with this field; of check boxes, the first of each name."""
    parser = _Forms()
    parser.feed(page)
    return next(form for form in parser.forms if name in form)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "form":
            self.forms.append({})
        elif tag in ("input", "textarea") and given.get("name") and self.forms:
            self.forms[-1].setdefault(str(given["name"]), given.get("value") or "")
