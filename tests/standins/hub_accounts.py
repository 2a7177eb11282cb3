"""Who asks a stand-in Hub, and what they may do."""

from dataclasses import dataclass, field

from tests.standins.hub_repos import RefusedError, Repository

TOKEN = "hf_" + "writer" * 5
READER = "hf_" + "reader" * 5
STRANGER = "hf_" + "stranger" * 4


@dataclass(frozen=True, slots=True)
class Account:
    """A token: whose it is, whether it may write, and the organisations of its owner.

    Attributes:
        organisations: name to role: `read`, `contributor`, `write` or `admin`.
    """

    name: str
    role: str = "write"
    organisations: dict[str, str] = field(default_factory=dict)

    def whoami(self) -> dict:
        return {
            "type": "user",
            "id": self.name,
            "name": self.name,
            "fullname": self.name.title(),
            "isPro": False,
            "orgs": [
                {"type": "org", "name": name, "roleInOrg": role}
                for name, role in self.organisations.items()
            ],
            "auth": {
                "type": "access_token",
                "accessToken": {"displayName": "test", "role": self.role},
            },
        }

    def belongs(self, owner: str) -> bool:
        return owner == self.name or owner in self.organisations

    def may_write(self, owner: str) -> bool:
        role = "admin" if owner == self.name else self.organisations.get(owner)
        return self.role == "write" and role in ("write", "admin")


def accounts() -> dict[str, Account]:
    """Tokens of every stand-in: a member of `org`, the same to read, a stranger."""
    return {
        TOKEN: Account("ann", organisations={"org": "write"}),
        READER: Account("ann", role="read", organisations={"org": "write"}),
        STRANGER: Account("eve"),
    }


def see(repo: Repository | None, account: Account | None) -> Repository:
    """The repository, unless it is hidden from who asks."""
    hidden = repo is not None and repo.private
    if repo is None or (hidden and not (account and account.belongs(repo.owner))):
        if account:
            raise RefusedError(404, "Repository not found", code="RepoNotFound")
        # over https a client takes any 401 for this; over http it needs the code
        raise RefusedError(401, "Invalid username or password.", code="RepoNotFound")
    return repo


def read(repo: Repository, account: Account | None) -> None:
    """Refuse who may not read files of a gated repository."""
    if not repo.gated or (
        account and (account.belongs(repo.owner) or account.name in repo.granted)
    ):
        return
    message = f"Access to dataset {repo.id} is restricted."
    if account is None:
        message += " You must have access to it and be authenticated to access it."
    raise RefusedError(403 if account else 401, message, code="GatedRepo")


def write(owner: str, account: Account | None) -> Account:
    """The account, if it may write what belongs to the owner."""
    if account is None:
        raise RefusedError(401, "Invalid username or password.")
    if not account.may_write(owner):
        message = "You don't have the required permissions to perform this operation"
        if account.role != "write":
            message = "Your token has not the role write"
        raise RefusedError(403, message)
    return account
