"""What a local stack is made from: where it keeps its state and where it listens. A value; starts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .ports import HOST, Ports


@dataclass(frozen=True, slots=True)
class Config:
    """deadline_s: how long each part may take to answer. grace_s: how long each may take to stop before it is killed. prometheus,
    alertmanager: the programs (None: run without it). environment: settings of the control plane that go before those of this process."""

    state_dir: Path
    ports: Ports = field(default_factory=Ports)
    deadline_s: float = 120.0
    grace_s: float = 8.0
    prometheus: Path | None = None
    alertmanager: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Children run elsewhere and the launcher may change its directory: only absolute paths mean the same to all.
        object.__setattr__(self, "state_dir", self.state_dir.expanduser().resolve())

    @property
    def unused(self) -> frozenset[str]:
        """Names of ports that nobody will listen on."""
        optional = {"prometheus": self.prometheus, "alertmanager": self.alertmanager}
        return frozenset(name for name, program in optional.items() if program is None)

    def addresses(self) -> dict[str, str]:
        used = {name: port for name, port in self.ports.items() if name not in self.unused}
        return {name: f"{HOST}:{port}" if name == "xds" else f"http://{HOST}:{port}" for name, port in used.items()}

    def log(self, name: str) -> Path:
        return self.state_dir / "logs" / f"{name}.log"
